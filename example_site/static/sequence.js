// Puts changes in order: the server's workers number them one by one, and what two of them send
// may arrive in either order.

const PATIENCE_MS = 1_000;
const MOST_HELD = 64;

export class Sequence {
  #apply;
  #askAgain;
  // The number of the last change applied.
  #number = -Infinity;
  // Those that came before their turn, by number.
  #held = new Map();
  // Runs while a change is missing.
  #timer = 0;

  // `apply` is called with each change, in the order of their `number`; `askAgain` when one is
  // missing and does not come. The answer to that is a `restart`.
  constructor(apply, askAgain) {
    this.#apply = apply;
    this.#askAgain = askAgain;
  }

  // Goes on from a whole state, which has all changes up to `number` in it.
  restart(number) {
    this.#number = number;
    for (const held of this.#held.keys()) {
      if (held <= number) this.#held.delete(held);
    }
    this.#stopWaiting();
    this.#advance();
  }

  take(change) {
    if (change.number <= this.#number) return;
    this.#held.set(change.number, change);
    this.#advance();
    if (this.#held.size > MOST_HELD) this.#giveUp();
  }

  #advance() {
    let next;
    while ((next = this.#held.get(this.#number + 1))) {
      this.#stopWaiting();
      this.#held.delete(next.number);
      this.#number = next.number;
      this.#apply(next);
    }
    if (this.#held.size) this.#timer ||= setTimeout(() => this.#giveUp(), PATIENCE_MS);
  }

  // The whole state, when it comes, is newer than all that is held.
  #giveUp() {
    this.#stopWaiting();
    this.#held.clear();
    this.#askAgain();
  }

  #stopWaiting() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}
