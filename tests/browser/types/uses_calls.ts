// As uses.ts, for calls.js. Never run.

import { CallError, calls, type Stream } from "../../../flask_wshandler/browser/calls.js";
import { Connection } from "../../../flask_wshandler/browser/client.js";

interface Board {
  move(move: { x: number }): Promise<number>;
  replay(game: number): Stream<{ x: number }>;
}
interface Page {
  confirm(question: string): boolean;
}

const board = calls<Board, Page>(new Connection("/board"), { confirm: (question) => question.length > 1 }, { timeout: 0 });
calls(new WebSocket("/board")).anything(1);
async function use(): Promise<void> {
  const number: number = await board.move({ x: 1 });
  for await (const move of board.replay(number)) move.x.toFixed();
  // @ts-expect-error
  await board.move("x");
  // @ts-expect-error
  for await (const move of board.move({ x: 1 })) use();
  // @ts-expect-error
  await board.other();
}
use().catch((error) => error instanceof CallError && error.code);
// @ts-expect-error
calls<Board, Page>(new Connection("/board"), { other: () => 1 });
