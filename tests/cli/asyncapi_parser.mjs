// What AsyncAPI's own parser has against documents, as a JSON list of lines for each:
// node asyncapi_parser.mjs PACKAGES DOCUMENT…

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, ...paths] = process.argv.slice(2);
const { Parser } = createRequire(`${packages}/`)("@asyncapi/parser");
const found = [];
for (const path of paths) {
  const { diagnostics } = await new Parser().parse(readFileSync(path, "utf8"));
  found.push(diagnostics.map(({ code, message, path: place }) => `${code} ${place.join(".")} ${message}`));
}
console.log(JSON.stringify(found));
