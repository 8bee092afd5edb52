"""A request becomes a WebSocket: routes, guards, the two calls in a view, and the 101's way out."""
