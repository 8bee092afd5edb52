// The client of Socket.IO: `node socket_io_client.js plain|retries PORT COUNT RATE`.

"use strict";

const { io } = require("socket.io-client");
const { Ends, talk } = require("./stream.js");

const [mode, port, count, rate] = process.argv.slice(2);
const end = new Ends();
const socket = io(`http://127.0.0.1:${port}`, {
  transports: ["websocket"],
  ...(mode === "retries" && { retries: 3, ackTimeout: 10000 }), // as in its documentation
});

socket.on("number", (number) => end.came.push(number));
// It keeps what is sent while it is away.
const send = (number) => void socket.emit("number", number);
socket.once("connect", () => talk(end, count, rate, send));
