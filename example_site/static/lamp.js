// The lamp that shows how the connection is, and when the next try is.

import { element } from "./elements.js";

const TEXTS = { connecting: "Connecting", open: "On air", waiting: "Off air", closed: "Closed" };

// Who hears the page is told of the states, not of the seconds.
function countdown(retryAt) {
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const made = element("span", "", ` · again in ${seconds} s`);
  made.ariaHidden = "true";
  return made;
}

export function wireLamp(connection) {
  const lamp = document.querySelector("[data-lamp]");
  const sign = document.querySelector("[data-lamp-sign]");
  let timer = 0;

  function show() {
    const { state, retryAt } = connection;
    lamp.dataset.state = state;
    if (sign) sign.dataset.state = state;
    lamp.replaceChildren(TEXTS[state], retryAt ? countdown(retryAt) : "");
  }

  connection.addEventListener("state", () => {
    clearInterval(timer);
    show();
    if (connection.retryAt) timer = setInterval(show, 1_000);
  });
}
