"""RFC 6455 without I/O: bytes in, events out. Knows the package websockets, and nothing of ours."""
