/** "connecting": a try; "waiting": for the next one; "closed": for good. */
export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

/** "stream" and "poll": over HTTP, where no WebSocket gets through. */
export type ConnectionTransport = "websocket" | "stream" | "poll";

export interface ConnectionOptions {
  /** The application's own subprotocols, as those of a WebSocket. */
  protocols?: string | readonly string[];
  /** Whether what was not acknowledged is sent again after a gap; if not, it is dropped. */
  repeat?: boolean;
  /** How many bytes `send` takes that the server has not; 1 MiB if not given. */
  maxBufferedAmount?: number;
  /** Whether HTTP may stand for a WebSocket where none gets through; true if not given. */
  fallback?: boolean;
}

export interface GapEvent extends Event {
  /**
   * true: those of a collection with history, which are not in it any more. false: the handler was
   * gone; what was on its way, and what was broadcast without a history.
   */
  readonly history: boolean;
}

export interface ConnectionEventMap {
  /** A handler on the server has begun: at first, and whenever it is not the one from before. */
  open: Event;
  message: MessageEvent<any>;
  /** Messages may have been lost. */
  gap: GapEvent;
  /** `state` has changed, and perhaps `attempt` and `retryAt`. */
  state: Event;
  /** A Blob could not be read, and is not sent. */
  error: Event;
  /** The connection is over, and does not come back. */
  close: CloseEvent;
}

/** A WebSocket that comes back after each loss. */
export class Connection extends EventTarget {
  /** Subprotocols may stand for the options. Raises as `new WebSocket(url, protocols)` does. */
  constructor(url: string | URL, options?: ConnectionOptions | string | readonly string[]);

  readonly url: string;
  readonly state: ConnectionState;
  /** As a WebSocket's: 0 for "connecting" and "waiting", 1 for "open", 3 for "closed". */
  readonly readyState: number;
  /** How many tries there have been since the last good network connection. */
  readonly attempt: number;
  /** When the next try is, as Date.now() counts; null if no time is set. */
  readonly retryAt: number | null;
  /** What is in use, or being tried. */
  readonly transport: ConnectionTransport;
  /** The application's subprotocol that the server has chosen, or "". */
  readonly protocol: string;
  /** Bytes that were sent and that the server has not acknowledged. */
  readonly bufferedAmount: number;
  binaryType: BinaryType;

  /** Each is called behind the listeners of its event. */
  onopen?: ((this: Connection, event: Event) => any) | null;
  onmessage?: ((this: Connection, event: MessageEvent<any>) => any) | null;
  ongap?: ((this: Connection, event: GapEvent) => any) | null;
  onstate?: ((this: Connection, event: Event) => any) | null;
  onerror?: ((this: Connection, event: Event) => any) | null;
  onclose?: ((this: Connection, event: CloseEvent) => any) | null;

  /** Whether the message is taken: false if there is no room, and when all is over. */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob): boolean;
  /** `code` is 1000, if not given, or of 3000 to 4999 except 4000. */
  close(code?: number, reason?: string): void;

  addEventListener<K extends keyof ConnectionEventMap>(
    type: K,
    listener: (this: Connection, event: ConnectionEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ConnectionEventMap>(
    type: K,
    listener: (this: Connection, event: ConnectionEventMap[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
