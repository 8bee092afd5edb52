// The room: the server's lines, told apart into what somebody said and what happened.

import { wireComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { element, timeStamp } from "./elements.js";
import { wireLamp } from "./lamp.js";
import { Log } from "./log.js";

// A name has no colon in it, so the first one is the server's.
const SAID = /^([^:]+) said: (.*)$/s;
const COLOURS = 8;

const page = document.querySelector("[data-chat]");
const ownName = page.dataset.name;
const log = new Log(page.querySelector("[data-log]"));
const connection = new Connection(page.dataset.socket);

function colourOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return `p${(hash % COLOURS) + 1}`;
}

function saying(name, text) {
  const said = element(
    "li",
    `said ${colourOf(name)}`,
    element("b", "", element("bdi", "", name)),
    element("span", "visually-hidden", " said: "),
    element("span", "text", text),
    timeStamp(),
  );
  said.classList.toggle("own", name === ownName);
  said.querySelector(".text").dir = "auto";
  return said;
}

function happening(text) {
  return element("li", "happened", element("bdi", "", text), " ", timeStamp());
}

connection.addEventListener("message", (event) => {
  const said = SAID.exec(event.data);
  log.append(said ? saying(said[1], said[2]) : happening(event.data));
});
connection.addEventListener("gap", () => {
  log.append(happening("The connection was lost. Something may have been missed."));
});
connection.addEventListener("close", ({ code }) => {
  log.append(happening(`The connection has ended (${code}).`));
});
wireLamp(connection);
wireComposer(page.querySelector("[data-composer]"), (text) => {
  const isTaken = connection.send(text);
  if (isTaken && connection.state !== "open") {
    log.append(happening(`Waits until you are on the air: ${text}`));
  }
  return isTaken;
});

// The browser may keep the page for its Back button, and would keep the connection with it.
document.querySelector("[data-leave]").addEventListener("click", () => connection.close());
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && connection.state === "closed") location.reload();
});
