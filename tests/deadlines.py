"""How long a test waits for what must come. Long, since only a failure takes so long.

A busy machine may start a server for ten seconds, or stand still for five.
"""

import time

DEADLINE_S = 60
#: A worker that is told to stop while it starts does not hear it, for gunicorn's 30 seconds.
STOP_DEADLINE_S = 60
PAGE_DEADLINE_MS = 60_000


def wait_for(question, what="it", deadline_s=DEADLINE_S):
    """Ask until the answer is true, and return it. For what nobody tells of."""
    until_s = time.monotonic() + deadline_s
    while not (answer := question()):
        assert time.monotonic() < until_s, f"no {what} in {deadline_s} s"
        time.sleep(0.002)
    return answer
