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

// What is sent while the page is off the air goes out when it is back.
function send(text) {
  const isTaken = connection.send(text);
  if (!isTaken) write("ERROR", "This could not be sent.");
  else write(connection.state === "open" ? "SENT" : "WAITS", text);
  return isTaken;
}

connection.addEventListener("open", () => send("WebSocket is on the air"));
connection.addEventListener("message", (event) => write("RESPONSE", event.data));
connection.addEventListener("gap", () => {
  write("ERROR", "Something may have been missed, and the count begins anew.");
});
connection.addEventListener("close", ({ code, reason }) => {
  write("ERROR", `The connection has ended (${code}${reason ? `: ${reason}` : ""}).`);
});
wireLamp(connection);
wireComposer(page.querySelector("[data-composer]"), send);
