// A WebSocket that comes back after it was lost.
//
// Events: "state" whenever `state` changes; "message" with the text in `detail`; "lost" with
// { code, reason } in `detail` for each connection that ended and each that failed to open.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
// A connection that held this long was a good one: the next loss starts from the first delay.
const STABLE_MS = 5_000;

// The WebSocket address of a path relative to the page, on the page's own host.
export function socketUrl(address) {
  const url = new URL(address, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #failures = 0;
  #retryTimer = 0;
  #stableTimer = 0;

  // "connecting", "open", "waiting" (for the next attempt) or "closed" (by `close`).
  state = "closed";
  retryDelayMs = 0;

  constructor(address) {
    super();
    this.#url = socketUrl(address);
    // A page in the back/forward cache must not hold a connection.
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#retryNow();
    });
  }

  open() {
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#enter("connecting");
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", (event) => {
      this.dispatchEvent(new CustomEvent("message", { detail: event.data }));
    });
    socket.addEventListener("close", (event) => {
      if (this.#socket === socket) this.#lost(event.code, event.reason);
    });
  }

  // Returns whether the text went out.
  send(text) {
    if (this.state !== "open") return false;
    this.#socket.send(text);
    return true;
  }

  close() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#stableTimer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#enter("closed");
  }

  #opened() {
    this.#stableTimer = setTimeout(() => (this.#failures = 0), STABLE_MS);
    this.#enter("open");
  }

  #lost(code, reason) {
    clearTimeout(this.#stableTimer);
    this.#socket = null;
    // Half of the delay is chance: after a restart the clients shall not all come at once.
    const ceiling = Math.min(FIRST_DELAY_MS * 2 ** this.#failures, LONGEST_DELAY_MS);
    this.retryDelayMs = ceiling * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.open(), this.retryDelayMs);
    this.#enter("waiting");
    this.dispatchEvent(new CustomEvent("lost", { detail: { code, reason } }));
  }

  #retryNow() {
    if (this.state === "waiting") this.open();
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
