// Calls between a page and a hub, both ways: JSON-RPC 2.0 in text messages, over a Connection or a
// WebSocket. Reference: docs/reference/client-js.md, and calls.d.ts.

const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;
const CONNECTION_LOST = -32001;
const TIMED_OUT = -32002;
const MESSAGES = {
  [METHOD_NOT_FOUND]: "Method not found",
  [INTERNAL_ERROR]: "Internal error",
  [CONNECTION_LOST]: "Connection lost",
  [TIMED_OUT]: "Timed out",
};

// Items of a stream that wait for the page, before the server is told to wait.
const MOST_WAITING = 64;

export class CallError extends Error {
  name = "CallError";

  constructor(code, message = MESSAGES[code], data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

export function calls(socket, handlers = {}, { timeout = 30_000 } = {}) {
  // What the page has called, by id: what takes an item, and what takes the end.
  const underWay = new Map();
  // What the server has called, by its id.
  const serving = new Set();
  let lastId = 0;

  function send(message) {
    const text = JSON.stringify({ jsonrpc: "2.0", ...message });
    try {
      // A WebSocket says nothing, and drops what comes too late.
      return socket.send(text) ?? socket.readyState < 2;
    } catch {
      // It is connecting.
      socket.addEventListener("open", () => socket.send(text), { once: true });
      return true;
    }
  }

  const note = (method, id) => send({ method, params: { id } });

  function call(method, params) {
    const id = ++lastId;
    const items = [];
    let wake;
    let timer;
    let isPaused = false;

    const promise = new Promise((resolve, reject) => {
      function end({ error, result }) {
        clearTimeout(timer);
        underWay.delete(id);
        if (error) reject(new CallError(error.code, error.message, error.data));
        else resolve(result);
        wake?.();
      }
      // A page that takes its time with what has come is not what is waited for.
      function watch() {
        clearTimeout(timer);
        if (timeout) timer = setTimeout(() => (items.length ? watch() : (note("$/cancel", id), end({ error: { code: TIMED_OUT } }))), timeout);
      }
      function take(item) {
        items.push(item);
        if (!isPaused && items.length > MOST_WAITING) isPaused = note("$/pause", id);
        watch();
        wake?.();
      }
      // First: what can't be written as JSON is not under way.
      if (!send({ id, method, params })) return end({ error: { code: CONNECTION_LOST } });
      underWay.set(id, { take, end });
      watch();
    });

    promise[Symbol.asyncIterator] = async function* () {
      // Who iterates is told by the iteration.
      promise.catch(() => {});
      try {
        while (items.length || underWay.has(id)) {
          if (items.length) {
            const item = items.shift();
            if (isPaused && items.length <= MOST_WAITING / 2) isPaused = !note("$/resume", id);
            yield item;
          } else {
            await new Promise((resolve) => (wake = resolve));
          }
        }
        return await promise;
      } finally {
        const left = underWay.get(id);
        if (left) {
          note("$/cancel", id);
          left.end({});
        }
      }
    };
    return promise;
  }

  async function serve({ id, method, params = [] }) {
    // Unless it was cancelled, or is not to be answered.
    const answer = (answer) => serving.has(id) && id !== undefined && send({ id, ...answer });
    serving.add(id);
    try {
      if (!Object.hasOwn(handlers, method) || !handlers[method].call) throw new CallError(METHOD_NOT_FOUND, undefined, method);
      const result = await handlers[method](...(Array.isArray(params) ? params : [params]));
      answer({ result: result ?? null });
    } catch (error) {
      if (!(error instanceof CallError)) {
        reportError(error);
        error = new CallError(INTERNAL_ERROR);
      }
      const { code, message, data } = error;
      answer({ error: { code, message, data } });
    }
    serving.delete(id);
  }

  function lose() {
    for (const { end } of underWay.values()) end({ error: { code: CONNECTION_LOST } });
    serving.clear();
  }

  socket.addEventListener("message", ({ data }) => {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not of a hub's
    }
    if (message?.jsonrpc !== "2.0") return;
    const { id, method, params } = message;
    if (method === "$/item") underWay.get(params?.id)?.take(params.value);
    else if (method === "$/cancel") serving.delete(params?.id);
    else if (method) serve(message);
    else underWay.get(id)?.end(message);
  });
  socket.addEventListener("gap", ({ history }) => history || lose());
  socket.addEventListener("close", lose);

  return new Proxy(
    {},
    {
      // What JavaScript itself looks for is not the server's.
      get: (_, name) => (typeof name === "symbol" || name === "then" || name === "toJSON" ? undefined : (...params) => call(name, params)),
    },
  );
}
