// The same with Socket.IO, its Redis streams adapter and connection state recovery:
// `node socket_io_server.js PORT WORKERS`.

"use strict";

const cluster = require("node:cluster");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const { BUS_URL, HISTORY, KILLS_DIRECTORY, KILLS_RATE } = process.env;

async function work(port) {
  const redis = createClient({ url: BUS_URL });
  await redis.connect();
  const server = http.createServer((request, response) => response.end("ok"));
  const io = new Server(server, {
    adapter: createAdapter(redis, { maxLen: Number(HISTORY) }),
    connectionStateRecovery: {}, // with its defaults: two minutes
    transports: ["websocket"],
    pingInterval: 2000,
    pingTimeout: 2000,
  });
  io.on("connection", (socket) => {
    if (!socket.recovered) socket.join("clients");
    socket.emit("m", `ready ${process.pid}`);
  });
  server.listen({ host: "127.0.0.1", port }, () => sendAll(io));
}

function sendAll(io) {
  let number = 0;
  setInterval(() => {
    if (!fs.existsSync(path.join(KILLS_DIRECTORY, "sending"))) return;
    const name = `${process.pid}-${number}`;
    io.to("clients").emit("m", name);
    fs.appendFileSync(path.join(KILLS_DIRECTORY, "said"), `${name}\n`);
    number += 1;
  }, 1000 / Number(KILLS_RATE));
}

const [port, workers] = process.argv.slice(2).map(Number);
if (cluster.isPrimary) {
  for (let number = 0; number < workers; number += 1) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  work(port);
}
