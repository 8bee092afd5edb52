// The server's figures: the sums in two charts, each worker's in numbers, and something to move
// them.

import { Chart } from "./chart.js";
import { Closes } from "./closes.js";
import { Connection } from "./connection.js";
import { wireLamp } from "./lamp.js";
import { Traffic } from "./traffic.js";
import { Workers, shown } from "./workers.js";

// As often as each worker is heard of.
const TICK_MS = 500;
const CONNECTIONS_PER_CLICK = 25;

const page = document.querySelector("[data-live]");
const connection = new Connection(page.dataset.socket);
const figures = page.querySelectorAll("[data-figure]");
const workers = new Workers(page.querySelector("[data-workers]"));
const closes = new Closes(page.querySelector("[data-closes]"));
const charts = [
  new Chart(
    page.querySelector("[data-chart=messages]"),
    [{ key: "received_per_s" }, { key: "sent_per_s", direction: -1 }],
    10,
  ),
  new Chart(
    page.querySelector("[data-chart=connections]"),
    [{ key: "connections" }, { key: "threads" }],
    10,
  ),
];

function tick() {
  const total = workers.total();
  for (const chart of charts) chart.add(total);
  for (const figure of figures) {
    figure.textContent = total ? shown(total[figure.dataset.figure]) : "–";
  }
  if (total) closes.show(total.closes);
}

connection.addEventListener("message", ({ data }) => workers.hear(JSON.parse(data)));
// A new handler: the server that has these figures may be gone.
connection.addEventListener("open", () => workers.clear());
setInterval(tick, TICK_MS);
wireLamp(connection);

const traffic = new Traffic(page.dataset.echo);
const openButton = page.querySelector("[data-open]");
const burstButton = page.querySelector("[data-burst]");
const closeButton = page.querySelector("[data-close]");
const opened = page.querySelector("[data-opened]");

openButton.addEventListener("click", () => traffic.open(CONNECTIONS_PER_CLICK));
closeButton.addEventListener("click", () => traffic.close());
burstButton.addEventListener("click", async () => {
  burstButton.disabled = true;
  await traffic.burst();
  burstButton.disabled = false;
});
traffic.addEventListener("change", () => {
  opened.textContent = traffic.count;
  openButton.disabled = traffic.isFull;
  closeButton.disabled = traffic.count === 0;
});
