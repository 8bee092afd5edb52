// The package's client, at the address that the template has (see parts.html).

const { href } = document.querySelector("link[rel=modulepreload]");
export const { Connection } = await import(href);
