"""What a process broadcasts is not lost, however soon and in whatever way it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S, wait_for

from .networks import ROOT
from .short_lived import COUNT

WAYS = ["fork", "spawn", "forkserver", "Pool", "futures", "os.fork", "os._exit"]


def run(network, how, size):
    done = subprocess.run(
        [sys.executable, "-m", "tests.bus.short_lived", network.url, "test", how, str(size)],
        cwd=ROOT,
        env={**os.environ, **network.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", WAYS)
def test_children_that_end_at_once(join, network, how):
    """Also more than a socket holds. Nothing that was to be run at the end is run in them."""
    listener = join("c:t")
    run(network, how, 1_500_000)
    count = 1 if how == "os._exit" else COUNT
    wait_for(lambda: listener.count() == count, "messages")
    came = sorted(text.partition(" ")[0] for text in listener.texts("c:t"))
    assert came == [str(number) for number in range(count)]


def stop(network, listener):
    process = network._server.process if network.kind == "redis" else listener.process
    process.send_signal(signal.SIGSTOP)
    # Not by waitid(): the listener is no child of this process.
    status = Path(f"/proc/{process.pid}/status")
    wait_for(lambda: "\nState:\tT" in status.read_text(), "standstill")


def test_what_takes_nothing_is_waited_for_once(join, network):
    """For two seconds, whatever else is broadcast then; and again when it has been there."""
    listener, speaker = join("c:t"), join()
    stop(network, listener)
    begin_s = time.monotonic()
    for _ in range(10):
        speaker.broadcast("t", 1_000_000)
    waited_s = time.monotonic() - begin_s
    assert 1.9 < waited_s < 15
    assert speaker.waits() == 1


def test_what_is_down_is_not_waited_for(join, network):
    """Nothing hinders a task whose broadcasts reach nobody."""
    speaker = join()
    speaker.broadcast("t", 10)
    network.lose()
    if network.kind == "redis":
        speaker.broadcast("t", 10)
        wait_for(lambda: not speaker.stats()["is_up"], "sign of the loss")
    before = speaker.waits()
    for _ in range(100):
        speaker.broadcast("t", 10)
    assert speaker.waits() == before
    network.restore()


def test_a_process_that_serves_clients_waits_for_nothing(join, network):
    """It has its time to end."""
    listener, server = join("c:t"), join()
    server.serve()
    stop(network, listener)
    for _ in range(10):
        server.broadcast("t", 1_000_000)
    assert server.waits() == 0
