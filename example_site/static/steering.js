// Turns keys, drags and arrow buttons into steps, at the pace at which the server takes them.

const STEP_MS = 115;
const MOST_TAPS = 3;
const DRAG_PX = 12;
const LEASH_PX = 30;

const KEYS = {
  ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right",
  KeyW: "up", KeyS: "down", KeyA: "left", KeyD: "right",
};

export class Steering {
  #step;
  #timer = 0;
  // Held directions, the latest last: who holds one and taps another goes on with the first.
  #held = [];
  // Taps that came and went between two steps, the oldest first.
  #taps = [];

  // `step` is called with "up", "down", "left" or "right".
  constructor(step) {
    this.#step = step;
    addEventListener("blur", () => (this.#held = []));
  }

  wireKeys(target) {
    target.addEventListener("keydown", (event) => {
      const direction = KEYS[event.code];
      const isElsewhere = event.target.closest("input, textarea, select, pre");
      if (!direction || isElsewhere || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      if (!event.repeat) this.#hold(direction);
    });
    target.addEventListener("keyup", (event) => this.#release(KEYS[event.code]));
  }

  wireButtons(buttons) {
    for (const button of buttons) {
      const direction = button.dataset.step;
      button.addEventListener("pointerdown", () => this.#hold(direction));
      for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
        button.addEventListener(end, () => this.#release(direction));
      }
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      // From the keyboard or a screen reader there is a click without a pointer.
      button.addEventListener("click", (event) => {
        if (event.detail === 0) this.#tap(direction);
      });
    }
  }

  wireDrag(surface) {
    let start = null;
    let current = null;
    const turn = (direction) => {
      if (direction === current) return;
      this.#release(current);
      current = direction;
      if (direction) this.#hold(direction);
    };
    surface.addEventListener("pointerdown", (event) => {
      surface.setPointerCapture(event.pointerId);
      start = [event.clientX, event.clientY];
    });
    surface.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [dx, dy] = [event.clientX - start[0], event.clientY - start[1]];
      const distance = Math.hypot(dx, dy);
      if (distance < DRAG_PX) return;
      turn(Math.abs(dx) > Math.abs(dy) ? (dx > 0 ? "right" : "left") : (dy > 0 ? "down" : "up"));
      // The start follows the finger, so that turning back takes a short way only.
      const slack = Math.max(0, 1 - LEASH_PX / distance);
      start = [start[0] + dx * slack, start[1] + dy * slack];
    });
    for (const end of ["pointerup", "pointercancel"]) {
      surface.addEventListener(end, () => {
        start = null;
        turn(null);
      });
    }
  }

  #hold(direction) {
    this.#held.push(direction);
    this.#tap(direction);
  }

  #release(direction) {
    this.#held = this.#held.filter((held) => held !== direction);
  }

  #tap(direction) {
    this.#taps = [...this.#taps, direction].slice(-MOST_TAPS);
    if (!this.#timer) this.#tick();
  }

  #tick() {
    const direction = this.#taps.shift() ?? this.#held.at(-1);
    this.#timer = direction ? setTimeout(() => this.#tick(), STEP_MS) : 0;
    if (direction) this.#step(direction);
  }
}
