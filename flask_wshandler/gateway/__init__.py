"""WebSockets that lead to a service behind a TCP or Unix socket."""
