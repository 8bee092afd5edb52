// Draws the board: tiles, drops and players. Keeps no state of the game but what it shows.

const SVG = "http://www.w3.org/2000/svg";
const GAP = 0.04;

const EYES = { up: [0, -0.16], down: [0, 0.08], left: [-0.14, -0.04], right: [0.14, -0.04] };

function shape(tag, className, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  made.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function token(player, isOwn) {
  const eye = (x) =>
    shape("g", "", { transform: `translate(${x} 0)` },
      shape("circle", "eye-white", { r: 0.13 }),
      shape("circle", "eye", { r: 0.07 }));
  const name = shape("text", "token-name", { "text-anchor": "middle" });
  name.textContent = player.name;
  return shape(
    "g",
    `token p${player.slot}${isOwn ? " own" : ""}`,
    {},
    ...(isOwn ? [shape("circle", "token-ring", { r: 0.45 })] : []),
    shape("circle", "token-body", { r: 0.45 }),
    shape("g", "eyes", {}, eye(-0.15), eye(0.15)),
    name,
  );
}

export class Board {
  #svg;
  #width = 0;
  #ownSlot = 0;
  #tiles = [];
  #tokens = new Map();
  #dropLayer;
  #tokenLayer;

  constructor(svg) {
    this.#svg = svg;
  }

  // Starts afresh from a whole state.
  reset(you, { width, height, tiles, players, drops }) {
    this.#width = width;
    this.#ownSlot = you;
    this.#tokens.clear();
    this.#tiles = tiles.map((owner, tile) => {
      const [x, y] = this.#position(tile);
      const rect = shape("rect", "tile", {
        x: x + GAP, y: y + GAP, width: 1 - 2 * GAP, height: 1 - 2 * GAP, rx: 0.16,
      });
      rect.dataset.owner = owner;
      return rect;
    });
    this.#dropLayer = shape("g", "drops");
    this.#tokenLayer = shape("g", "tokens");
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren(
      shape("g", "tiles", {}, ...this.#tiles), this.#dropLayer, this.#tokenLayer,
    );
    this.apply({ tiles: [], players, left: [], drops });
  }

  // Shows what has changed.
  apply({ tiles, players, left, drops }) {
    for (const [tile, owner] of tiles) this.#tiles[tile].dataset.owner = owner;
    for (const slot of left) {
      this.#tokens.get(slot)?.remove();
      this.#tokens.delete(slot);
    }
    for (const player of players) this.#place(player);
    this.#dropLayer.replaceChildren(...drops.map((tile) => this.#drop(tile)));
  }

  #place(player) {
    let shown = this.#tokens.get(player.slot);
    if (!shown) {
      shown = token(player, player.slot === this.#ownSlot);
      this.#tokens.set(player.slot, shown);
      this.#tokenLayer.append(shown);
    }
    shown.style.transform = `translate(${player.x + 0.5}px, ${player.y + 0.5}px)`;
    const [x, y] = EYES[player.facing];
    shown.querySelector(".eyes").style.transform = `translate(${x}px, ${y}px)`;
    this.#placeName(shown.querySelector(".token-name"), player);
  }

  // Above the player, but within the board.
  #placeName(name, { x, y }) {
    const half = name.getComputedTextLength() / 2;
    const middle = Math.min(Math.max(x + 0.5, half), this.#width - half);
    name.setAttribute("x", middle - x - 0.5);
    name.setAttribute("y", y === 0 ? 0.9 : -0.6);
  }

  #drop(tile) {
    const [x, y] = this.#position(tile);
    const d = "M0-.36C.1-.16.28-.02.28.14A.28.28 0 0 1-.28.14C-.28-.02-.1-.16 0-.36z";
    const transform = `translate(${x + 0.5} ${y + 0.5})`;
    return shape("g", "", { transform }, shape("path", "drop", { d }));
  }

  #position(tile) {
    return [tile % this.#width, Math.floor(tile / this.#width)];
  }
}
