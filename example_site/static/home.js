// Lights the sign on the front page, if the echo answers.

import { Connection } from "./connection.js";
import { wireLamp } from "./lamp.js";

wireLamp(new Connection(document.querySelector("[data-home]").dataset.socket));
