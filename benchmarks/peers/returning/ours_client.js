// The JavaScript client of this package: `node ours_client.js CLIENT_JS PORT COUNT RATE`.

"use strict";

const { pathToFileURL } = require("node:url");
const WebSocket = require("ws");
const { Ends, talk } = require("./stream.js");

// What a page has and Node.js 20 has not.
globalThis.addEventListener = () => {};
globalThis.WebSocket = class extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    this.on("error", () => {}); // in a page, too, nobody has to listen to it
  }
};

const [clientJs, port, count, rate] = process.argv.slice(2);
const end = new Ends();

import(pathToFileURL(clientJs)).then(({ Connection }) => {
  const connection = new Connection(`http://127.0.0.1:${port}/stream`);
  connection.addEventListener("message", ({ data }) => end.came.push(Number(data)));
  const begin = () => talk(end, count, rate, (number) => connection.send(String(number)));
  connection.addEventListener("open", begin, { once: true });
});
