// What a page may do with a connection, and behind @ts-expect-error what it may not: there the
// compiler fails if it finds nothing wrong. Never run.

import { Connection, type ConnectionOptions, type ConnectionState, type ConnectionTransport } from "../../../flask_wshandler/browser/client.js";

const options: ConnectionOptions = { protocols: ["chat.v2"], repeat: false, maxBufferedAmount: 1024, fallback: false };
const connection = new Connection(new URL("wss://example.org/ws"), options);
new Connection("/ws");
new Connection("/ws", {});
new Connection("/ws", "chat.v2");
new Connection("/ws", ["chat.v2", "chat.v1"] as const);

const wasTaken: boolean = connection.send("text");
connection.send(new ArrayBuffer(1));
connection.send(Uint8Array.of(1));
connection.send(new DataView(new ArrayBuffer(1)));
connection.send(new Blob(["x"]));
connection.close();
connection.close(3000, "done");

const state: ConnectionState = connection.state;
const transport: ConnectionTransport = connection.transport;
const isOverHttp: boolean = transport === "stream" || transport === "poll";
const isOpen: boolean = state === "open" && connection.readyState === WebSocket.OPEN;
const seconds: number | null = connection.retryAt && connection.retryAt / 1000;
const texts: string[] = [connection.url, connection.protocol];
const numbers: number[] = [connection.attempt, connection.bufferedAmount];
connection.binaryType = "arraybuffer";

connection.onopen = () => connection.send("hello");
connection.onmessage = ({ data }) => console.log(data.length);
connection.onmessage = null;
connection.ongap = connection.onstate = connection.onerror = (event) => console.log(event.type);
connection.onclose = function ({ code, reason, wasClean }) {
  console.log(code.toFixed(), reason.length, wasClean === true, this.state);
};
connection.addEventListener("message", ({ data }) => console.log(data), { once: true });
connection.addEventListener("close", ({ code }) => console.log(code.toFixed()));
connection.addEventListener("gap", () => location.reload());
connection.addEventListener("gap", ({ history }) => history || location.reload());
connection.addEventListener("another", { handleEvent: (event) => console.log(event.type) });
connection.removeEventListener("state", () => undefined);
class Chat extends Connection {
  say = (line: string) => this.send(line);
}
const target: EventTarget = new Chat("/chat");

console.log(wasTaken, isOverHttp, isOpen, seconds, texts, numbers, target);

// @ts-expect-error: an address is needed
new Connection();
// @ts-expect-error: no such option
new Connection("/ws", { protocol: "chat.v2" });
// @ts-expect-error: the options are the second argument
new Connection("/ws", "chat.v2", { repeat: false });
// @ts-expect-error: no message
connection.send({ text: "hello" });
// @ts-expect-error: no message
connection.send(1);
// @ts-expect-error: a code is a number
connection.close("1000");
// @ts-expect-error: the connection's to say
connection.state = "open";
// @ts-expect-error: the connection's to find out
connection.transport = "poll";
// @ts-expect-error: no state
connection.state === "closing";
// @ts-expect-error: neither of both
connection.binaryType = "text";
// @ts-expect-error: may be null
connection.retryAt.toFixed();
// @ts-expect-error: a close event has no data
connection.onclose = ({ data }) => console.log(data);
// @ts-expect-error: no message event
connection.addEventListener("open", ({ data }) => console.log(data));
// @ts-expect-error: a WebSocket's, and not there
connection.extensions;
