// The package's client, at the address that the template has (see parts.html).

const { href } = document.querySelector("link[data-module=client]");
export const { Connection } = await import(href);
