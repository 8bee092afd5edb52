// The same with Socket.IO, its Redis streams adapter and connection state recovery.

"use strict";

const http = require("node:http");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const AT_ONCE = 100; // then what was emitted goes to Redis, as between two requests

async function emit(io, count, size) {
  const tookUs = [];
  const started = process.hrtime.bigint();
  for (let number = 0; number < count; number += 1) {
    const stamp = process.hrtime.bigint();
    const text = (String(stamp).padStart(20, "0") + "x".repeat(size)).slice(0, size);
    io.to("clients").emit("m", text);
    tookUs.push(Number(process.hrtime.bigint() - stamp) / 1000);
    if (number % AT_ONCE === AT_ONCE - 1) await new Promise(setImmediate);
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  tookUs.sort((one, other) => one - other);
  const at = (share) => tookUs[Math.floor(count * share)];
  return JSON.stringify({ seconds, median_us: at(0.5), slow_us: at(0.99) });
}

async function main(port) {
  const redis = createClient({ url: process.env.BUS_URL });
  await redis.connect();
  const server = http.createServer(async (request, response) => {
    const { searchParams } = new URL(request.url, "http://127.0.0.1");
    const [count, size] = ["count", "size"].map((name) => Number(searchParams.get(name)));
    response.end(await emit(io, count, size));
  });
  const io = new Server(server, {
    adapter: createAdapter(redis, { maxLen: Number(process.env.HISTORY) }),
    connectionStateRecovery: {}, // with its defaults: two minutes
  });
  io.on("connection", (socket) => socket.join("clients"));
  server.listen({ host: "127.0.0.1", port });
}

main(Number(process.argv[2]));
