// The list of players beside the board, the leader first.

import { element } from "./elements.js";

export class Scores {
  #list;
  #players = new Map();
  #ownSlot = 0;
  #tiles = 1;

  constructor(list) {
    this.#list = list;
  }

  reset(you, { width, height, players }) {
    this.#players.clear();
    this.#ownSlot = you;
    this.#tiles = width * height;
    this.apply({ players, left: [] });
  }

  apply({ players, left }) {
    if (!players.length && !left.length) return;
    for (const slot of left) this.#players.delete(slot);
    for (const player of players) this.#players.set(player.slot, player);
    const ranked = [...this.#players.values()].sort((a, b) => b.score - a.score || a.slot - b.slot);
    this.#list.replaceChildren(...ranked.map((player) => this.#row(player)));
  }

  #row({ slot, name, score, wins }) {
    const isOwn = slot === this.#ownSlot;
    const row = element(
      "li",
      `p${slot}`,
      element("span", "swatch"),
      element("bdi", "name", name),
      element("span", "you", isOwn ? "you" : ""),
      element("span", "wins", wins ? `${wins} won` : ""),
      element("span", "score", String(score)),
      element("span", "share"),
    );
    row.classList.toggle("own", isOwn);
    row.style.setProperty("--share", score / this.#tiles);
    return row;
  }
}
