// The figures of each worker process, side by side.

import { element } from "./elements.js";

const SILENCE_MS = 3_000;
const FIGURES = [
  ["connections", "connections"],
  ["threads", "threads"],
  ["accepted", "accepted"],
  ["away", "away"],
  ["returned", "came back"],
  ["queued_bytes", "bytes queued"],
  ["received_per_s", "in / s"],
  ["sent_per_s", "out / s"],
];
// Shown for all workers together only.
const SUMMED = [...FIGURES.map(([key]) => key), "received_bytes_per_s", "sent_bytes_per_s"];

export function shown(figure) {
  return Math.round(figure).toLocaleString("en");
}

// Adds up objects of numbers.
function sumByKey(objects) {
  const sums = {};
  for (const [key, number] of objects.flatMap((each) => Object.entries(each))) {
    sums[key] = (sums[key] ?? 0) + number;
  }
  return sums;
}

export class Workers {
  #list;
  // By host and process id: what was heard, when, and the item that shows it.
  #workers = new Map();

  constructor(list) {
    this.#list = list;
  }

  // Takes the figures of one worker.
  hear(figures) {
    const name = `${figures.host} ${figures.pid}`;
    let worker = this.#workers.get(name);
    if (!worker) {
      worker = { item: this.#item(figures) };
      this.#workers.set(name, worker);
      this.#arrange();
    }
    worker.figures = figures;
    worker.heardMs = performance.now();
    for (const [key] of FIGURES) {
      worker.item.querySelector(`[data-own=${key}]`).textContent = shown(figures[key]);
    }
  }

  // Returns the sums over all workers; null without any. Those that fell silent are gone.
  total() {
    const oldestMs = performance.now() - SILENCE_MS;
    for (const [name, { heardMs }] of this.#workers) {
      if (heardMs < oldestMs) this.#remove(name);
    }
    if (!this.#workers.size) return null;
    const all = [...this.#workers.values()].map(({ figures }) => figures);
    const sum = (key) => all.reduce((total, figures) => total + figures[key], 0);
    const total = Object.fromEntries(SUMMED.map((key) => [key, sum(key)]));
    this.#share(total.connections);
    return { ...total, closes: sumByKey(all.map(({ closes }) => closes)) };
  }

  clear() {
    for (const name of [...this.#workers.keys()]) this.#remove(name);
  }

  #remove(name) {
    this.#workers.get(name).item.remove();
    this.#workers.delete(name);
  }

  #share(connections) {
    for (const { item, figures } of this.#workers.values()) {
      item.style.setProperty("--share", connections ? figures.connections / connections : 0);
    }
  }

  #arrange() {
    const names = [...this.#workers.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    this.#list.replaceChildren(...names.map((name) => this.#workers.get(name).item));
  }

  #item({ host, pid }) {
    const figures = FIGURES.map(([key, label]) => {
      const value = element("dd", "", "–");
      value.dataset.own = key;
      return element("div", "", element("dt", "", label), value);
    });
    return element(
      "li",
      "panel worker",
      element("h3", "", `Worker ${pid}`, " ", element("span", "host", host)),
      element("span", "share"),
      element("dl", "", ...figures),
    );
  }
}
