// What the JavaScript programs of `losses` have in common; see stream.py.

"use strict";

const readline = require("node:readline");

// What has come, in order, and whether all was sent.
class Ends {
  came = [];
  hasSent = false;

  begin(count, rate, send) {
    const startedMs = performance.now();
    let number = 0;
    const timer = setInterval(() => {
      const due = ((performance.now() - startedMs) / 1000) * rate;
      // What `send` does not take is tried again.
      while (number < count && number <= due && send(number) !== false) number += 1;
      if (number < count) return;
      clearInterval(timer);
      this.hasSent = true;
    }, 1);
  }

  report() {
    return JSON.stringify({ came: this.came, has_sent: this.hasSent });
  }
}

// A client, once it is connected.
function talk(end, count, rate, send) {
  console.log(end.report());
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    if (line === "begin") end.begin(count, rate, send);
    console.log(end.report());
  });
  lines.on("close", () => process.exit());
}

module.exports = { Ends, talk };
