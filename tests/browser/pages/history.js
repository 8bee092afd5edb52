// Connects, and does as it is told: loads itself again, or goes to another page.

import { Connection } from "./client.js";

const connection = new Connection("/ws");
connection.addEventListener("message", ({ data }) => {
  if (data === "reload") location.reload();
  else location.assign(data);
});
addEventListener("pageshow", ({ persisted }) => persisted && connection.send("restored"));
