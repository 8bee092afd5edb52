"""What every app under test does with a request: broadcast, and tell how long the calls took."""

import itertools
import json
import time


def emit_for_view(broadcast, arguments):
    """`count` messages of `size` bytes; each begins with when it was sent, in nanoseconds."""
    count, size = int(arguments["count"]), int(arguments["size"])
    padding = "x" * size
    stamps_ns = []
    for _ in range(count):
        # All processes of a machine have the same monotonic clock.
        stamps_ns.append(time.monotonic_ns())
        broadcast(f"{stamps_ns[-1]:020}{padding}"[:size])
    stamps_ns.append(time.monotonic_ns())
    return json.dumps(summary(stamps_ns))


def summary(stamps_ns):
    """Of calls of which each but the last began when the one before it was over."""
    took_us = sorted((end - begin) / 1000 for begin, end in itertools.pairwise(stamps_ns))
    return {
        "seconds": (stamps_ns[-1] - stamps_ns[0]) / 1e9,
        "median_us": took_us[len(took_us) // 2],
        "slow_us": took_us[len(took_us) * 99 // 100],
    }
