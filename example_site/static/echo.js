// The tutorial's page: SENT, RESPONSE and ERROR lines.

import { wireComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { element, timeStamp } from "./elements.js";
import { wireLamp } from "./lamp.js";
import { Log } from "./log.js";

const page = document.querySelector("[data-echo]");
const log = new Log(page.querySelector("[data-log]"));
const connection = new Connection(page.dataset.socket);

function write(kind, text) {
  log.append(
    element(
      "li",
      kind.toLowerCase(),
      element("b", "", `${kind}:`),
      " ",
      element("bdi", "", text),
      " ",
      timeStamp(),
    ),
  );
}

function send(text) {
  const sent = connection.send(text);
  if (sent) write("SENT", text);
  else write("ERROR", "The connection is not open yet.");
  return sent;
}

connection.addEventListener("state", () => {
  if (connection.state === "open") send("WebSocket is on the air");
});
connection.addEventListener("message", (event) => write("RESPONSE", event.detail));
connection.addEventListener("lost", ({ detail: { code, reason } }) => {
  write("ERROR", `The connection was lost (${code}${reason ? `: ${reason}` : ""}).`);
});
wireLamp(connection);
wireComposer(page.querySelector("[data-composer]"), send);
connection.open();
