// So many clients of Socket.IO: `node socket_io_client.js PORT COUNT`.

"use strict";

const readline = require("node:readline");
const { io } = require("socket.io-client");

const [port, count] = process.argv.slice(2).map(Number);
const came = Array.from({ length: count }, () => []);

for (const messages of came) {
  // A connection each; by default they would share one.
  const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
  socket.on("m", (message) => messages.push(message));
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", () => console.log(JSON.stringify(came)));
lines.on("close", () => process.exit());
