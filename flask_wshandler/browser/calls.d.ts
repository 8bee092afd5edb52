/** What has become of a call that has no result. */
export class CallError extends Error {
  constructor(code: number, message?: string, data?: unknown);
  /**
   * The server's own, or one of these: -32601 nothing is called so, -32602 wrong arguments, -32603 an
   * error, -32000 too many calls, -32001 the connection was lost, -32002 the time is over, -32800 cancelled.
   */
  readonly code: number;
  readonly data: any;
}

/** What a stream returns: iterate over it, once. Its promise is fulfilled at its end. */
export type Stream<Item> = Promise<any> & AsyncIterable<Item>;

/** A Connection or a WebSocket. */
export interface CallableSocket {
  readonly readyState: number;
  send(data: string): unknown;
  addEventListener(type: string, listener: (event: any) => unknown, options?: any): void;
}

export interface CallOptions {
  /** Milliseconds until an answer, or the next item; 30,000 if not given, 0 for any time. */
  timeout?: number;
}

type AnyServer = Record<string, (...args: any[]) => Stream<any>>;

/**
 * What calls a hub, over `socket`; and has the hub call the functions of `handlers`, its own properties.
 * `flask websockets types` prints the types of both.
 */
export function calls<Server extends object = AnyServer, Page extends object = Record<string, (...args: any[]) => any>>(
  socket: CallableSocket,
  handlers?: Partial<Page>,
  options?: CallOptions,
): Server;
