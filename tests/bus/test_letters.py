"""What one process hands over to another that it knows by name, on every bus."""

import signal
from pathlib import Path

import pytest

from tests.deadlines import wait_for

from . import networks


class Correspondent(networks.Member):
    module = "tests.bus.correspondent"


@pytest.fixture
def join(network):
    """Start a process: `join(name)`; with a name others can hand over to it."""
    members = []

    def join(name=None, **options):
        members.append(Correspondent(network, **options))
        if name is not None:
            assert members[-1].be_addressable(name)
        return members[-1]

    yield join
    for member in members:
        member.end()


def stop(member):
    """Have a process stand still."""
    member.signal(signal.SIGSTOP)
    wait_for(lambda: set(states_of(member.process.pid)) == {"T"}, "stop")


def states_of(process_id):
    """Of each thread, as the system says."""
    for path in Path(f"/proc/{process_id}/task").glob("*/stat"):
        yield path.read_text().rpartition(")")[2].split()[0]


def test_it_is_handed_over_to_one_and_answered(join):
    """Whatever its size; what is large for the bus, too. No other process takes it."""
    owner, other, worker = join("owner"), join("other"), join()
    sizes = [0, 1, 1000, 256 * 1024 - 20, 256 * 1024, 2 * 2**20 + 1000, 3 * 2**20]
    for size in sizes:
        assert worker.hand_over("owner", size)[0] is True, size
    assert (owner.count(), other.count()) == (len(sizes), 0)
    assert worker.hand_over("other", 1)[0] is True
    assert other.hand_over("owner", 1)[0] is True
    assert (owner.count(), other.count()) == (len(sizes) + 1, 1)


def test_nobody_has_the_name(join):
    """Nothing is answered; at once where no other process is known, as to the process itself."""
    worker = join("worker")
    assert worker.hand_over("worker", 1)[0] is None
    join("owner")
    assert worker.hand_over("nobody", 1, 0.2)[0] is None
    assert worker.hand_over("owner", 1)[0] is True


def test_it_takes_no_room_of_others(join):
    """A process that stands still and has nothing to do with it is not written to."""
    _owner, bystander, worker = join("owner"), join("bystander"), join(max_queue_bytes=5_000_000)
    stop(bystander)
    for _ in range(4):
        assert worker.hand_over("owner", 2_000_000)[0] is True
    assert worker.stats()["dropped"] == 0
    bystander.signal(signal.SIGCONT)
    assert worker.hand_over("bystander", 1)[0] is True


def test_many_threads_at_once(join):
    """Each gets the answer to what it has handed over."""
    join("a")
    join("b")
    worker = join("worker")
    assert worker.hand_over_from_threads(["a", "b"], 30, 20) == 400


def test_each_to_the_other_at_once(join):
    """Neither's bus waits for the other's."""
    one, two = join("one"), join("two")
    one.order("hand_over_from_threads", ["two"], 8, 20)
    two.order("hand_over_from_threads", ["one"], 8, 20)
    assert (one.done(), two.done()) == (200, 200)


def test_an_owner_that_stands_still_is_not_waited_for_any_longer(join):
    """What it answers later is nobody's; then it answers again."""
    owner, worker = join("owner"), join()
    assert worker.hand_over("owner", 1)[0] is True
    stop(owner)
    reply, took_s = worker.hand_over("owner", 2, 0.3)
    assert reply is None
    assert took_s >= 0.3
    owner.signal(signal.SIGCONT)
    assert worker.hand_over("owner", 3)[0] is True
    wait_for(lambda: owner.count() == 3, "letters")
    assert worker.stats()["malformed"] == 0


def test_an_owner_that_is_killed_answers_no_more(join, network):
    """Where the bus can tell that it has gone, at once; its successor has another name."""
    owner, worker = join("owner"), join()
    assert worker.hand_over("owner", 1)[0] is True
    owner.kill()
    timeout_s = 1000 if network.kind == "local" else 0.3
    for _ in range(2):
        assert worker.hand_over("owner", 2, timeout_s)[0] is None
    join("successor")
    assert worker.hand_over("owner", 2, timeout_s)[0] is None
    assert worker.hand_over("successor", 2)[0] is True


def test_while_the_bus_is_down_nothing_is_waited_for(join, network):
    """When it is back, what was addressable is so again."""
    _owner, worker = join("owner"), join("worker")
    assert worker.hand_over("owner", 1)[0] is True
    network.lose()
    wait_for(lambda: not worker.is_up(), "sign of the loss")
    assert worker.hand_over("owner", 1, 1000)[0] is None
    network.restore()
    wait_for(lambda: worker.hand_over("owner", 1, 1)[0], "return")


def test_a_forked_child_has_a_name_and_replies_of_its_own(join):
    """What it is answered does not come to its parent, which goes on."""
    owner, worker = join("owner"), join("worker")
    assert worker.hand_over("owner", 1)[0] is True
    assert worker.fork("owner", "child")
    assert worker.hand_over("owner", 2)[0] is True
    assert owner.hand_over("worker", 3)[0] is True
    assert (owner.count(), worker.count()) == (3, 1)
