"""How long a test waits for what must come. Long, since only a failure takes so long.

A busy machine may start a server for ten seconds, or stand still for five.
"""

DEADLINE_S = 60
#: A worker that is told to stop while it starts does not hear it, for gunicorn's 30 seconds.
STOP_DEADLINE_S = 60
PAGE_DEADLINE_MS = 60_000
