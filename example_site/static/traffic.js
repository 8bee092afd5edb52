// Load for the charts to show: connections to the echo, and messages on some of them.

const MOST_CONNECTIONS = 100;
const BURST_CONNECTIONS = 4;
const BURST_MS = 6_000;
const BEAT_MS = 100;
const MOST_MESSAGES_PER_BEAT = 30;

export class Traffic extends EventTarget {
  #url;
  #sockets = new Set();

  // "change" is fired when `count` is another.
  constructor(address) {
    super();
    this.#url = new URL(address, document.baseURI).href.replace(/^http/, "ws");
    addEventListener("pagehide", () => this.close());
  }

  get count() {
    return this.#sockets.size;
  }

  get isFull() {
    return this.count >= MOST_CONNECTIONS;
  }

  open(number) {
    for (let opened = 0; opened < number && !this.isFull; opened += 1) this.#connect();
  }

  // Resolves when the burst is over.
  async burst() {
    const sockets = Array.from({ length: BURST_CONNECTIONS }, () => this.#connect());
    for (let sinceMs = 0; sinceMs < BURST_MS; sinceMs += BEAT_MS) {
      // It swells and ebbs, as a spoken word does.
      const loudness = Math.sin((Math.PI * sinceMs) / BURST_MS) * (0.4 + 0.6 * Math.random());
      const messages = Math.round(MOST_MESSAGES_PER_BEAT * loudness);
      for (const socket of sockets) this.#sendSome(socket, messages);
      await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
    }
    for (const socket of sockets) this.#drop(socket);
  }

  close() {
    for (const socket of this.#sockets) this.#drop(socket);
  }

  #sendSome(socket, messages) {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (let sent = 0; sent < messages; sent += 1) socket.send("tick");
  }

  #connect() {
    const socket = new WebSocket(this.#url);
    socket.addEventListener("close", () => this.#drop(socket));
    this.#sockets.add(socket);
    this.dispatchEvent(new Event("change"));
    return socket;
  }

  #drop(socket) {
    if (!this.#sockets.delete(socket)) return;
    socket.close(1000);
    this.dispatchEvent(new Event("change"));
  }
}
