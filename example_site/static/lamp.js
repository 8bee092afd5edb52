// The lamp that shows how the connection is.

const TEXTS = {
  connecting: () => "Connecting",
  open: () => "On air",
  waiting: (connection) => `Off air · again in ${Math.ceil(connection.retryDelayMs / 1000)} s`,
  closed: () => "Off air",
};

export function wireLamp(connection) {
  const lamp = document.querySelector("[data-lamp]");
  const sign = document.querySelector("[data-lamp-sign]");
  connection.addEventListener("state", () => {
    lamp.dataset.state = connection.state;
    lamp.textContent = TEXTS[connection.state](connection);
    if (sign) sign.dataset.state = connection.state;
  });
}
