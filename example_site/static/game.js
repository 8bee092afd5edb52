// The game's page: steps go out, the board's changes come in.

import { Board } from "./board.js";
import { Connection } from "./connection.js";
import { wireLamp } from "./lamp.js";
import { Scores } from "./scores.js";
import { Sequence } from "./sequence.js";
import { Steering } from "./steering.js";

const RESULT_MS = 4_000;
// What the server answers with the whole state, and with a place on the board if we have none.
const AGAIN = "again";
const NAMES = new Intl.ListFormat("en");

const page = document.querySelector("[data-game]");
const surface = page.querySelector("[data-board]");
const resultLine = page.querySelector("[data-result]");
const board = new Board(surface);
const scores = new Scores(page.querySelector("[data-scores]"));
const connection = new Connection(page.dataset.socket);
const changes = new Sequence(show, () => connection.send(AGAIN));
const steering = new Steering((direction) => connection.send(direction));
let ownSlot = 0;
let resultTimer = 0;

// The board takes the height that the text above it leaves, whatever its font.
function measure() {
  const above = page.getBoundingClientRect().top + window.scrollY;
  page.style.setProperty("--above", `${above}px`);
}

new ResizeObserver(measure).observe(document.body);

function say(text) {
  clearTimeout(resultTimer);
  resultLine.textContent = text;
}

function announce({ number, winners, score }) {
  const verb = winners.length > 1 ? "share" : "takes";
  say(`${NAMES.format(winners)} ${verb} round ${number} with ${score} tiles`);
  resultTimer = setTimeout(() => say(""), RESULT_MS);
}

function show(change) {
  board.apply(change);
  scores.apply(change);
  if (change.result) announce(change.result);
  // The server took us for gone.
  if (change.left.includes(ownSlot)) connection.send(AGAIN);
}

const RECEIVE = {
  state(state) {
    say("");
    ownSlot = state.you;
    board.reset(state);
    scores.reset(state);
    changes.restart(state.number);
  },
  change(change) {
    changes.take(change);
  },
};

connection.addEventListener("message", (event) => {
  const message = JSON.parse(event.detail);
  RECEIVE[message.kind](message);
});
connection.addEventListener("state", () => {
  page.dataset.state = connection.state;
});
connection.addEventListener("lost", ({ detail: { reason } }) => {
  say(reason || "The connection was lost. Your place comes back with it.");
});
wireLamp(connection);
steering.wireKeys(document);
steering.wireDrag(surface);
steering.wireButtons(page.querySelectorAll("[data-step]"));
connection.open();
