// A list that grows at its end and stays there, unless the reader has scrolled up.

const MOST_LINES = 300;
const NEAR_END_PX = 40;

export class Log {
  #list;

  constructor(list) {
    this.#list = list;
  }

  append(line) {
    const list = this.#list;
    const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX;
    list.append(line);
    while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    if (wasAtEnd) list.scrollTop = list.scrollHeight;
  }
}
