"""What every app under test does with a request: broadcast, and tell how long the calls took."""

import time


def emit_for_view(broadcast, arguments):
    """`count` messages of `size` bytes; each begins with when it was sent, in nanoseconds."""
    count, size = int(arguments["count"]), int(arguments["size"])
    padding = "x" * size
    started_ns = time.monotonic_ns()
    for _ in range(count):
        # All processes of a machine have the same monotonic clock.
        broadcast(f"{time.monotonic_ns():020}{padding}"[:size])
    return str((time.monotonic_ns() - started_ns) / 1e9)
