// The room: what was said and what has happened, before this page came and since, and who is here.

import { wireComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { element, timeStamp } from "./elements.js";
import { wireLamp } from "./lamp.js";
import { Log } from "./log.js";

const HAPPENED = {
  connected: "has connected.",
  lost: "has lost the connection.",
  back: "is back.",
  gone: "has gone away.",
};

const page = document.querySelector("[data-chat]");
const ownName = page.dataset.name;
const here = page.querySelector("[data-here]");
const log = new Log(page.querySelector("[data-log]"));
const connection = new Connection(page.dataset.socket);

function saying({ name, color, text, at }) {
  const said = element(
    "li",
    `said ${color}`,
    element("b", "", element("bdi", "", name)),
    element("span", "visually-hidden", " said: "),
    element("span", "text", text),
    timeStamp(new Date(at * 1000)),
  );
  said.classList.toggle("own", name === ownName);
  said.querySelector(".text").dir = "auto";
  return said;
}

function happening(...content) {
  return element("li", "happened", ...content);
}

function show(message) {
  if (message.type === "said") {
    log.append(saying(message));
  } else if (message.type === "here") {
    const people = message.people.map(({ name, color }) => element("li", color, element("bdi", "", name)));
    log.keepEnd(() => here.replaceChildren(...people));
  } else {
    const { type, name, at } = message;
    log.append(happening(element("bdi", "", name), ` ${HAPPENED[type]} `, timeStamp(new Date(at * 1000))));
  }
}

function note(text) {
  log.append(happening(text, " ", timeStamp()));
}

connection.addEventListener("message", ({ data }) => show(JSON.parse(data)));
connection.addEventListener("gap", ({ history }) => {
  // All that is said here is kept, and comes again; only what is older than that can be missing.
  if (history) note("The connection was lost. Something may have been missed.");
});
connection.addEventListener("close", ({ code }) => {
  note(`The connection has ended (${code}).`);
});
wireLamp(connection);
wireComposer(page.querySelector("[data-composer]"), (text) => {
  const isTaken = connection.send(text);
  if (isTaken && connection.state !== "open") {
    note(`Waits until you are on the air: ${text}`);
  }
  return isTaken;
});

// The browser may keep the page for its Back button, and would keep the connection with it.
document.querySelector("[data-leave]").addEventListener("click", () => connection.close());
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && connection.state === "closed") location.reload();
});
