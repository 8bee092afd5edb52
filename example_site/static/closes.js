// How connections have ended: a count for each close code.

import { element } from "./elements.js";
import { shown } from "./workers.js";

const MEANINGS = {
  1000: "closed",
  1001: "page left",
  1005: "closed without a code",
  1006: "lost",
  1007: "no UTF-8",
  1008: "against a rule",
  1009: "message too large",
  1011: "handler failed",
  1012: "server restarted",
  1013: "too slow",
};

export class Closes {
  #list;
  #before = "";

  constructor(list) {
    this.#list = list;
  }

  // Shows how many there are of each code.
  show(counts) {
    const now = JSON.stringify(counts);
    if (now === this.#before) return;
    this.#before = now;
    this.#list.replaceChildren(...Object.entries(counts).map(([code, count]) => this.#item(code, count)));
  }

  #item(code, count) {
    const item = element(
      "li",
      "",
      element("b", "", shown(count)),
      element("span", "", MEANINGS[code] ?? "by the app"),
      element("code", "", code),
    );
    item.dataset.code = code;
    return item;
  }
}
