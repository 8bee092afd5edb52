// One connection, what it has told the page, and what a test may have it do.

import { Connection } from "./client.js";

const hexOf = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (digits) => parseInt(digits, 16));

class Page {
  Connection = Connection;
  taken = [];
  events = [];
  states = [];

  open(options) {
    const connection = new Connection("/ws", options);
    connection.binaryType = "arraybuffer";
    connection.addEventListener("message", ({ data }) => {
      this.taken.push(typeof data === "string" ? data : { hex: hexOf(data) });
    });
    connection.addEventListener("state", () => this.states.push(connection.state));
    for (const type of ["open", "gap", "error"]) {
      connection.addEventListener(type, ({ history }) => this.events.push(history ? `history ${type}` : type));
    }
    connection.addEventListener("close", ({ code, reason, wasClean }) => {
      this.events.push("close");
      this.closed = { code, reason, wasClean };
    });
    this.connection = connection;
  }

  send(message) {
    return this.connection.send(typeof message === "string" ? message : bytesOf(message.hex));
  }

  // The next test has a new one.
  end() {
    this.connection?.close();
    globalThis.page = new Page();
  }

  // What the browser does when it puts the page into its back/forward cache, and takes it out.
  hide() {
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  }

  show() {
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  }
}

globalThis.page = new Page();
