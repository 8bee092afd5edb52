// A list that grows at its end and stays there, unless the reader has scrolled up.

const MOST_LINES = 300;
const NEAR_END_PX = 40;

export class Log {
  #list;

  constructor(list) {
    this.#list = list;
  }

  append(line) {
    this.keepEnd((list) => {
      list.append(line);
      while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    });
  }

  // Change what is in the list, or what is beside it.
  keepEnd(change) {
    const list = this.#list;
    const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
    change(list);
    if (wasAtEnd) list.scrollTop = list.scrollHeight;
  }
}
