// The package's calls, at the address that the template has (see parts.html).

const { href } = document.querySelector("link[data-module=calls]");
export const { calls } = await import(href);
