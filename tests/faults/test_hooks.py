"""Code of the app's, wherever it is called: it may raise, take its time, and come back."""

import contextlib
import time

import pytest

from . import hooks
from .peers import GIVEN_UP, Peer, check_all_works, one_of_each

OF_LOGS = ("filter", "formatter", "handler", "record")


def provoke(server, peer):
    """Have every hook of a process run, in callbacks and in the threads of the package."""
    for _ in range(2):
        peer.tell("use_all")
    with contextlib.suppress(*GIVEN_UP, EOFError, TimeoutError):
        other = Peer(server.url("/ws"))
        other.tell("explode")
        other.close()


#: Those that a greenlet or a bus with threads of its own may take otherwise.
WITH_GREENLETS = ["filter", "handler", "disconnected", "json", "del"]


@pytest.mark.parametrize(
    ("server", "hook"),
    [
        *[("gthread, local", hook) for hook in hooks.HOOKS],
        *[("gevent, redis", hook) for hook in WITH_GREENLETS],
    ],
    indirect=["server"],
)
def test_a_hook_misbehaves(server, hook):
    """It raises, exits, blocks and comes back: after it nothing is stuck, and nothing has ended."""
    for how in hooks.HOWS:
        with one_of_each(server) as peers:
            for peer in peers:
                peer.tell("misbehave", hook, how)
                with contextlib.suppress(*GIVEN_UP, EOFError):
                    peer.read(lambda text: text == "done")
                with contextlib.suppress(*GIVEN_UP):
                    if hook in OF_LOGS and how == hooks.HOWS[-1]:
                        peer.tell("vanish")  # which the bus's thread logs
                    provoke(server, peer)
        time.sleep(hooks.MOMENT_S)
    check_all_works(server)
