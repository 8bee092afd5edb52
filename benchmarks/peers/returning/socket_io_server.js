// Socket.IO with connection state recovery: `node socket_io_server.js PORT`.

"use strict";

const http = require("node:http");
const { Server } = require("socket.io");
const { Ends } = require("./stream.js");

const end = new Ends();

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
  if (pathname === "/begin") {
    const send = (number) => io.to("clients").emit("number", number);
    end.begin(searchParams.get("count"), searchParams.get("rate"), send);
  }
  response.end(pathname === "/came" ? end.report() : "ok");
});
const io = new Server(server, {
  connectionStateRecovery: {}, // with its defaults: two minutes
  pingInterval: 2000,
  pingTimeout: 2000,
});

io.on("connection", (socket) => {
  if (!socket.recovered) socket.join("clients");
  socket.on("number", (number, acknowledge) => {
    end.came.push(number);
    if (acknowledge) acknowledge();
  });
});

server.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
