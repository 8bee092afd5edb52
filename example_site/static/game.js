// The game's page: steps go out, the board's changes come in.

import { Board } from "./board.js";
import { calls } from "./calls.js";
import { Connection } from "./connection.js";
import { wireLamp } from "./lamp.js";
import { Scores } from "./scores.js";
import { Sequence } from "./sequence.js";
import { Steering } from "./steering.js";

const RESULT_MS = 4_000;
const AWAY = "Off air. Your place is kept for a minute.";
const NEW_PLACE = "Your place was lost. This is a new one.";
const NAMES = new Intl.ListFormat("en");

const page = document.querySelector("[data-game]");
const surface = page.querySelector("[data-board]");
const resultLine = page.querySelector("[data-result]");
const board = new Board(surface);
const scores = new Scores(page.querySelector("[data-scores]"));
// Steps are of the moment: a new handler is not told old ones.
const connection = new Connection(page.dataset.socket, { repeat: false });
const server = calls(connection, {
  entered(you, state) {
    say(hasGap ? NEW_PLACE : "", RESULT_MS);
    hasGap = false;
    ownSlot = you;
    board.reset(you, state);
    scores.reset(you, state);
    changes.restart(state.number);
  },
  changed(change) {
    changes.take(change);
  },
  full(reason) {
    say(reason);
    hasGap = false;
    ownSlot = 0;
  },
});
const changes = new Sequence(show, enter);
const steering = new Steering((direction) => {
  if (connection.state === "open") server.step(direction).catch(letGo);
});
// 0 without a place on the board.
let ownSlot = 0;
let hasGap = false;
let resultTimer = 0;

// The board takes the height that the text above it leaves, whatever its font.
function measure() {
  const above = page.getBoundingClientRect().top + window.scrollY;
  page.style.setProperty("--above", `${above}px`);
}

new ResizeObserver(measure).observe(document.body);

// Whether a call has arrived is seen on the board: one that a cut has lost is not missed.
function letGo() {}

// The server answers with the whole state, and with a place on the board if we have none.
function enter() {
  server.enter().catch(letGo);
}

function say(text, forMs = Infinity) {
  clearTimeout(resultTimer);
  resultLine.textContent = text;
  if (forMs < Infinity) resultTimer = setTimeout(() => say(""), forMs);
}

function announce({ number, winners, score }) {
  const verb = winners.length > 1 ? "share" : "takes";
  say(`${NAMES.format(winners)} ${verb} round ${number} with ${score} tiles`, RESULT_MS);
}

function show(change) {
  board.apply(change);
  scores.apply(change);
  if (change.result) announce(change.result);
  // The server took us for gone.
  if (change.left.includes(ownSlot)) enter();
}

connection.addEventListener("state", () => {
  page.dataset.state = connection.state;
  // Else the line says why there is none.
  if (ownSlot) say(connection.state === "open" ? "" : AWAY);
});
connection.addEventListener("gap", () => (hasGap = ownSlot > 0));
connection.addEventListener("close", () => say("The connection has ended."));
wireLamp(connection);
steering.wireKeys(document);
steering.wireDrag(surface);
steering.wireButtons(page.querySelectorAll("[data-step]"));
