// Node.js with ws: `node node_ws.js PORT`.

"use strict";

const http = require("node:http");
const { WebSocketServer } = require("ws");

const perMessageDeflate = "COMPRESSION" in process.env;
const options = { noServer: true, perMessageDeflate };
const echo = new WebSocketServer(options);
const broadcast = new WebSocketServer(options);

echo.on("connection", (socket) => {
  socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
});

broadcast.on("connection", (socket) => {
  socket.on("message", (message, isBinary) => {
    for (const client of broadcast.clients) client.send(message, { binary: isBinary });
  });
});

const server = http.createServer((request, response) => {
  response.setHeader("Content-Length", 2);
  response.end("ok");
});

server.on("upgrade", (request, socket, head) => {
  const chosen = request.url === "/broadcast" ? broadcast : echo;
  chosen.handleUpgrade(request, socket, head, (ws) => chosen.emit("connection", ws, request));
});

server.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
