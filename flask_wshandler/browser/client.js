// A WebSocket that comes back after each loss, and whose messages arrive once and in order all the
// same, if the server speaks wshandler.1. Reference: docs/reference/client-js.md, and client.d.ts.
//
// A message's number is its place among those of its direction, over all network connections; it is
// on no wire, both ends count. What is sent is kept until the server says that it has taken it, and
// is sent again on the next network connection. Nothing is stored outside of the object: a
// duplicated tab must not return as the one that it was copied from.

const SUBPROTOCOL = "wshandler.1";

// Close codes. A browser lets no page send 1002, so the server is given another.
const AWAY = 4000;
const CUT = 1006;
const PROTOCOL_ERROR = 1002;
const PROTOCOL_ERROR_ON_THE_WIRE = 4002;
// With these a server ends a handler in order: what it has said has arrived, and what it has taken is
// known.
const ORDERLY = [1001, 1012];
// After these, too, the client comes back; after no others.
const LOSSES = [...ORDERLY, CUT, AWAY, 1005, 1011, 1013, 1014];

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
// For a try, until the server's hello; where there is another way, it is not waited for that long. That of a
// poll may come with what the server has to say.
const HELLO_MS = 20_000;
const HELLO_MS_BY = { websocket: 4_000, stream: 3_000, poll: 30_000 };
// For an answer that is due. And the clock is read so often: no timer runs while a machine sleeps. A
// network connection that has lasted so long was a good one: the delays begin anew. So was one that the
// network has cut after messages had gone through.
const GRACE_MS = 5_000;

const ACKNOWLEDGE_AFTER_MESSAGES = 64;
const ACKNOWLEDGE_AFTER_BYTES = 65_536;
const ACKNOWLEDGE_AFTER_MS = 1_000;
// Empty messages need memory, too.
const MOST_KEPT = 16_384;

const BINARY_MESSAGE = 0x6d;
const SESSION = /^[\w~-]{8,128}$/;
// Behind an @ before a message that is in a log, or all behind an @ or a g: the log, and how far it is read.
const PLACE = /^.([\da-f]{12}\.[\da-f.]{1,64})(\n?)/;
const LONGEST_HEAD = 79;
const MOST_PLACES = 32;

// What stands for a WebSocket where none gets through; loaded then. The transport that has worked is
// what the page's connections begin with, for a while.
let Fallback;
let known;
let knownUntil = 0;
const KNOWN_MS = 600_000;

// A copy of a text, an ArrayBuffer or a view of one, with an m in front.
function framed(data) {
  if (data.byteLength === undefined) return `m${data}`;
  const frame = new Uint8Array(data.byteLength + 1);
  frame[0] = BINARY_MESSAGE;
  frame.set(new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength), 1);
  return frame;
}

function check(isRight) {
  if (!isRight) throw new Error();
}

export class Connection extends EventTarget {
  url;
  protocol = "";
  binaryType = "blob";
  state;
  attempt = 0;

  #protocols;
  #repeat;
  #maxBufferedAmount;
  // The address over HTTP, if that may stand for a WebSocket.
  #fallback;
  // Ends the listeners on the page, which would keep this object as long as that.
  #life = new AbortController();

  // Whether a try offers wshandler.1; Chromium fails it if the server does not answer to that, and
  // nobody can tell this from another failure. So tries alternate, until one kind is known to work.
  #isOffering = true;
  #doubts = 2;

  // The network connection, or the try to have one.
  #socket;
  #isWell;
  #deadline;
  #patienceMs;
  #timer;

  // What the server calls the connection; a secret.
  #session;
  // Before this one. Of two that reach a server in the wrong order the later one counts.
  #tries = 0;
  // Whether it is for a new handler, since the server has ended the last one in order.
  #wasOrderly;
  #received = 0;
  #untold;
  #untoldBytes;
  #tellTimer;
  #acknowledged = 0;
  // Tokens with how far it is in logs, that it has heard of last: for a new handler.
  #places = [];
  // The messages behind #acknowledged, each with its size and its frame, and how many of them the
  // server may have.
  #kept = [];
  #keptBytes = 0;
  #written = 0;

  // As a WebSocket's, subprotocols may stand in the place of the options.
  constructor(url, options = {}) {
    super();
    // A request resolves an address as a page or a worker does.
    this.url = new Request(url).url.replace(/^http/, "ws");
    ({
      protocols: this.#protocols = options.concat ? options : [],
      repeat: this.#repeat = true,
      maxBufferedAmount: this.#maxBufferedAmount = 2 ** 20,
      fallback: this.#fallback = true,
    } = options);
    // Another origin would be asked first whether it takes such requests, and nobody answers that.
    const address = this.url.replace("ws", "http");
    this.#fallback &&= address.startsWith(`${origin}/`) && address;
    this.#connect();
    // What is passed with each is taken for options, of which it has the signal.
    const wakeOnline = () => {
      knownUntil = 0;
      this.#wake();
    };
    addEventListener("online", wakeOnline, this.#life);
    addEventListener("visibilitychange", () => document.hidden || this.#wake(), this.#life);
    // The back/forward cache, or the end of the page: then the browser itself closes a WebSocket, with 1001.
    const hide = (event) => (event.persisted ? this.#hide() : this.#socket.transport && this.#socket.close(1001));
    addEventListener("pagehide", hide, this.#life);
    addEventListener("pageshow", (event) => event.persisted && this.#wake(), this.#life);
  }

  get readyState() {
    return { open: 1, closed: 3 }[this.state] ?? 0;
  }

  get transport() {
    return this.#socket.transport ?? "websocket";
  }

  get retryAt() {
    return this.state === "waiting" ? this.#deadline : null;
  }

  get bufferedAmount() {
    if (this.#session || this.state !== "open") return this.#keptBytes;
    // A plain server acknowledges nothing: there it is what the browser has not sent.
    return this.#keptBytes + this.#socket.bufferedAmount;
  }

  // Takes it in every state but "closed". Returns whether it has: there may be no room.
  send(data) {
    const size = data.size ?? data.byteLength ?? new TextEncoder().encode(data).length;
    const isFull = this.bufferedAmount + size > this.#maxBufferedAmount || this.#kept.length >= MOST_KEPT;
    if (isFull || this.state === "closed") return false;
    const message = { size };
    this.#kept.push(message);
    this.#keptBytes += size;
    if (data instanceof Blob) this.#read(data, message);
    else message.frame = framed(data);
    this.#flush();
    return true;
  }

  close(code = 1000, reason) {
    if (this.state !== "closed") this.#end({ code, reason, wasClean: true }, code, reason);
  }

  #offer() {
    const counts = `${this.#received}.${this.#acknowledged}.${this.#tries++}`;
    const returns = this.#session ? `${this.#wasOrderly ? "n" : "r"}.${this.#session}.${counts}` : [];
    return [SUBPROTOCOL].concat(this.#protocols, returns, this.#places);
  }

  #connect(transport = this.#fallback && Date.now() < knownUntil && known) {
    const socket = (this.#socket = transport
      ? new Fallback(this.#fallback, () => this.#offer(), transport)
      : new WebSocket(this.url, this.#isOffering || this.#session ? this.#offer() : this.#protocols));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket.protocol === SUBPROTOCOL) return;
      // A server that speaks no wshandler.1; this is in the place of its hello.
      this.#open({
        protocol: socket.protocol,
        received: 0,
        resumed: false,
        lost: !this.#wasOrderly,
      });
    };
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#lose(event);
    this.#awaitHello();
  }

  // The try goes on by another transport.
  async #fallBack(transport) {
    this.#drop(AWAY);
    // As long as it takes to load what makes one.
    this.#socket = { transport, close: () => (transport = "") };
    this.#awaitHello();
    knownUntil = Date.now() + KNOWN_MS;
    ({ Fallback } = await import("./fallback.js").catch(() => ({})));
    if (!transport) return;
    if (Fallback) this.#connect(transport);
    else this.#lose({ code: CUT });
  }

  #awaitHello() {
    this.#enter("connecting", this.#fallback ? HELLO_MS_BY[this.transport] : HELLO_MS);
  }

  #awaitDeadline() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.state === "open") this.attempt = 0;
      const leftMs = this.#deadline - Date.now();
      // If more is left than there was, the clock was set back.
      if (leftMs > 0 && leftMs <= this.#patienceMs) this.#awaitDeadline();
      else if (this.state === "waiting") this.#connect();
      else this.#lose({ code: CUT, isMute: this.transport === "stream" });
    }, Math.min(this.#deadline - Date.now(), GRACE_MS));
  }

  // The network has changed, or the page is shown again.
  #wake() {
    if (this.state === "waiting") this.#connect();
    else if (this.#session && this.state === "open") {
      this.#socket.send("p");
      this.#deadline = Math.min(this.#deadline, Date.now() + GRACE_MS);
    }
  }

  #hide() {
    this.#leave(AWAY);
    clearTimeout(this.#timer);
  }

  #hear(data) {
    this.#deadline = Date.now() + this.#patienceMs;
    const text = typeof data === "string" ? data : String.fromCharCode(...new Uint8Array(data.slice(0, LONGEST_HEAD)));
    const kind = text[0];
    try {
      // Each poll has one.
      if (this.state === "connecting" || (kind === "h" && this.transport === "poll")) {
        check(kind === "h");
        const hello = JSON.parse(data.slice(1));
        check(SESSION.test(hello.session ?? "") && (hello.ping ?? 1) > 0);
        this.#open(hello);
      } else if (!this.#session) {
        this.#deliver(data);
      } else if (kind === "m") {
        this.#take(data, 1);
      } else if (kind === "@" || kind === "g") {
        const [, place, end] = PLACE.exec(text);
        check((kind === "@" && end) || data === kind + place);
        const token = `p.${place}`;
        const others = this.#places.filter((other) => other.slice(0, 14) !== token.slice(0, 14));
        this.#places = [...others, token].slice(-MOST_PLACES);
        this.#take(data, end && token.length);
      } else if (kind === "a") {
        const number = Number(data.slice(1));
        check(data === `a${number}`);
        this.#acknowledge(number);
      } else {
        check(data === "p");
        this.#tell();
      }
    } catch {
      this.#end({ code: PROTOCOL_ERROR }, PROTOCOL_ERROR_ON_THE_WIRE);
    }
  }

  #open({ session, received, resumed, lost, ping, protocol }) {
    check(resumed ? this.#session : resumed === false);
    if (!this.#session || !session) {
      this.#received = this.#acknowledged = 0;
      this.#places = [];
    }
    this.#acknowledge(received);
    const hasGap = this.#session && !resumed && lost;
    const isNextPoll = resumed && this.state === "open";
    if (hasGap && !this.#repeat) this.#forget(0);
    this.#session = session;
    this.#wasOrderly = false;
    this.#doubts = session ? 0 : this.#doubts - 1;
    this.protocol = protocol ?? "";
    this.#untold = this.#untoldBytes = this.#isWell = 0;
    if (!isNextPoll) this.#written = 0;
    known = this.#socket.transport;
    this.#socket.begin?.(session, isNextPoll);
    this.#enter("open", (ping || Infinity) * 1000 + GRACE_MS);
    this.#flush();
    if (hasGap) this.#emit("gap", { history: false });
    if (!resumed) this.#emit("open");
  }

  // What begins nowhere is no message, but says only where this client is in a log; with a g, after a gap.
  #take(data, begin) {
    this.#received += 1;
    this.#untold += 1;
    this.#isWell = 1;
    this.#untoldBytes += data.length ?? data.byteLength;
    const isMuch = this.#untoldBytes >= ACKNOWLEDGE_AFTER_BYTES;
    if (isMuch || this.#untold >= ACKNOWLEDGE_AFTER_MESSAGES) this.#tell();
    else if (this.#untold === 1) this.#tellTimer = setTimeout(() => this.#tell(), ACKNOWLEDGE_AFTER_MS);
    if (begin) this.#deliver(data.slice(begin));
    else if (data[0] === "g") this.#emit("gap", { history: true });
  }

  #tell() {
    clearTimeout(this.#tellTimer);
    this.#untold = this.#untoldBytes = 0;
    this.#socket.send(`a${this.#received}`);
  }

  #deliver(data) {
    if (typeof data !== "string" && this.binaryType === "blob") data = new Blob([data]);
    this.#emit("message", { data }, MessageEvent);
  }

  #acknowledge(number) {
    // So much that is no whole number, or less than before, is not what it is compared with then.
    const count = (number - this.#acknowledged) >>> 0;
    this.#acknowledged += count;
    check(number === this.#acknowledged && count <= this.#written);
    this.#written -= count;
    this.#isWell ||= count;
    this.#forget(0, count);
  }

  // Takes what Array.splice does.
  #forget(...places) {
    for (const { size } of this.#kept.splice(...places)) this.#keptBytes -= size;
  }

  // A message keeps its place while its Blob is read; what is behind it waits.
  async #read(blob, message) {
    try {
      message.frame = framed(await blob.arrayBuffer());
    } catch {
      if (this.#kept.includes(message)) this.#forget(this.#kept.indexOf(message), 1);
      this.#emit("error");
    }
    this.#flush();
  }

  #flush() {
    if (this.state !== "open") return;
    for (let frame; (frame = this.#kept[this.#written]?.frame); this.#written += 1) {
      this.#socket.send(this.#session ? frame : frame.slice(1), this.#acknowledged + this.#written + 1);
    }
    if (!this.#session) this.#acknowledge(this.#acknowledged + this.#written);
  }

  // The network connection is lost, or could not be had.
  #lose(event) {
    const isTry = this.state === "connecting";
    const isWebSocket = this.transport === "websocket";
    if (isWebSocket && this.#doubts > 0) this.#isOffering = !isTry || !this.#isOffering;
    const next = isWebSocket ? "stream" : event.isMute && "poll";
    if (isTry && next && this.#fallback && event.code === CUT) return this.#fallBack(next);
    if (isTry && !isWebSocket) knownUntil = 0;
    if (LOSSES.includes(event.code)) this.#leave(event.code);
    else this.#end(event);
  }

  #leave(code) {
    if (this.state === "open") {
      this.#wasOrderly = ORDERLY.includes(code);
      if (this.#isWell && code === CUT) this.attempt = 0;
    }
    this.#drop(AWAY);
    this.#enter(
      "waiting",
      Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.attempt++),
    );
  }

  // Close the network connection, and hear no more of it. Throws for a code that a page may not use.
  #drop(code, reason) {
    this.#socket.close(code, reason);
    this.#socket.onmessage = this.#socket.onclose = null;
    clearTimeout(this.#tellTimer);
  }

  #end(event, ...toServer) {
    this.#drop(...toServer);
    this.#enter("closed");
    clearTimeout(this.#timer);
    this.#emit("close", event, CloseEvent);
    this.#life.abort();
  }

  #enter(state, patienceMs) {
    const isNew = state !== this.state;
    this.state = state;
    this.#patienceMs = patienceMs;
    this.#deadline = Date.now() + patienceMs;
    this.#awaitDeadline();
    if (isNew) this.#emit("state");
  }

  // A listener that throws is the page's affair, so no `on…` is called from here.
  #emit(type, init, Kind) {
    if (this.#life.signal.aborted) return;
    this.addEventListener(type, this[`on${type}`], { once: true });
    this.dispatchEvent(Kind ? new Kind(type, init) : Object.assign(new Event(type), init));
  }
}
