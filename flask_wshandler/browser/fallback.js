// Where no WebSocket gets through: what looks like one to client.js, over HTTP. Loaded only then.
//
// Down comes a response that does not end, a stream of events. Where something on the way holds that
// back, responses end when they have said something, and the next is asked for: polls. Up go POSTs,
// one after the other, each with all that has come together meanwhile.

const AWAY = 4000;
const CUT = 1006;
const TOO_LARGE = 1009;

// In one POST, unless a message alone is larger. Each counts for so much more: then 500 are enough, too.
const MOST_CHARACTERS = 65_536;
const OVERHEAD = 131;
// A POST up to that outlives its page. All that do may have 64 KiB together.
const MOST_KEPT_ALIVE = 8_000;
const POST_MS = 20_000;
const LONGEST_RETRY_MS = 30_000;
// For what is faster than the poll that it belongs to.
const POLL_RETRY_MS = 200;
// For a close event that is on its way, after a POST to a handler that has ended.
const LAST_WORDS_MS = 200;

// Of a text, each line; of anything else, base64 or JSON. Whatever does not match is a comment.
const EVENT = /^(?:event: (\w+)\n)?data: ([^]*)/m;

export class Fallback {
  transport;
  onmessage;
  onclose;

  #session;
  #target;
  // JSON of what the server has not taken over, each with a number if it has one.
  #queue = [];
  #isPosting;
  #life = new AbortController();

  // `offer` says what a request offers.
  constructor(url, offer, transport) {
    this.transport = transport;
    this.#listen(url, offer);
  }

  // The server has said hello. What was sent before will be sent again, unless the last poll goes on.
  begin(session, isNextPoll) {
    this.#session = session;
    if (!isNextPoll) this.#queue = [];
  }

  // A text or an array of bytes.
  send(data, number) {
    // The next poll says that anyway.
    if (this.transport === "poll" && data[0] === "a") return;
    const said =
      typeof data === "string"
        ? data.toWellFormed()
        : { b: btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), "")) };
    this.#queue.push({ json: JSON.stringify(said), number });
    this.#post();
  }

  // A server that has said hello is told, and ends the response.
  close(code = AWAY, reason = "") {
    if (this.#session && code !== AWAY) this.send(`c${code} ${reason}`);
    else this.#life.abort();
  }

  #end(event) {
    this.#life.abort();
    this.onclose?.(event);
  }

  async #listen(url, offer) {
    const { signal } = this.#life;
    try {
      do {
        const headers = {
          Accept: "text/event-stream",
          "X-WSHandler": this.transport,
          "X-WSHandler-Offer": offer().join(", "),
        };
        // Else a browser has it wait for other requests to the address, whose responses it might keep.
        const response = await fetch(url, { headers, signal, cache: "no-store" });
        const target = response.headers.get("X-WSHandler-Send");
        // Without that it is another page.
        if (!response.ok || !target) break;
        this.#target = new URL(target, response.url);
        await this.#read(response.body.getReader());
      } while (this.transport === "poll" && !signal.aborted);
    } catch {
      // The network, or this end.
    }
    this.#end({ code: CUT });
  }

  async #read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (let part; !(part = await reader.read()).done; ) {
      const events = (rest + decoder.decode(part.value, { stream: true })).split("\n\n");
      rest = events.pop();
      for (const event of events) this.#hear(event);
    }
  }

  #hear(event) {
    const [isEvent, kind, data] = EVENT.exec(event) ?? [];
    if (kind === "close") {
      const [code, reason] = JSON.parse(data);
      this.#end({ code, reason, wasClean: true });
    } else if (kind) {
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt());
      this.onmessage?.({ data: kind === "text" ? new TextDecoder().decode(bytes) : bytes.buffer });
    } else if (isEvent) this.onmessage?.({ data: data.replaceAll("\ndata: ", "\n") });
  }

  async #post() {
    if (this.#isPosting) return;
    this.#isPosting = true;
    // What is sent in one turn goes together.
    await null;
    for (let queue; (queue = this.#queue).length && !this.#life.signal.aborted; ) {
      let size = 0;
      const batch = queue.filter(({ json }, index) => (size += json.length + OVERHEAD) <= MOST_CHARACTERS || !index);
      const { status, headers } = await this.#request(batch).catch(Response.error);
      const retryMs = Math.min(1000 * (headers.get("Retry-After") || 1), LONGEST_RETRY_MS);
      const waitMs = { 404: this.transport === "poll" && POLL_RETRY_MS, 429: retryMs, 503: retryMs }[status];
      if (status === 204) queue.splice(0, batch.length);
      else if (status === 413) this.#end({ code: TOO_LARGE });
      else {
        await new Promise((resolve) => setTimeout(resolve, waitMs || LAST_WORDS_MS));
        if (!waitMs) this.#end({ code: CUT });
      }
    }
    this.#isPosting = false;
  }

  #request(batch) {
    const body = `[${batch.map(({ json }) => json)}]`;
    return fetch(this.#target, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-WSHandler-Session": this.#session,
        // Where no message has a number, this says nothing.
        "X-WSHandler-First": batch.find(({ number }) => number)?.number ?? 1,
      },
      body,
      keepalive: body.length < MOST_KEPT_ALIVE,
      signal: AbortSignal.timeout(POST_MS),
    });
  }
}
