"""Who is where, in all processes, also when one of them is killed."""

import contextlib
import os
import random
import signal
import time

import pytest


def everywhere(server, workers, path="/presence"):
    """The answers of every worker, by its process id."""
    answers = {}
    until_s = time.monotonic() + 20
    while len(answers) < workers:
        assert time.monotonic() < until_s, f"only {sorted(answers)} answer"
        answer = server.get(path).json()
        answers[answer["pid"]] = answer
    return answers


def test_every_worker_knows_all_members(cluster, crowd):
    """Also one that serves none of them, from its first question on; with their metadata."""
    server = cluster.start(workers=3)
    names = [f"name{number:02}" for number in range(20)]
    for name in names:
        crowd.join(server.url(f"/ws?name={name}"))
    ids = sorted(client.id for client in crowd.clients)
    for answer in everywhere(server, 3).values():
        assert (answer["ids"], answer["names"]) == (ids, names)
        assert len(answer["processes"]) == len(crowd.pids)
        assert all(f":{pid}:" in "".join(answer["processes"]) for pid in crowd.pids)


def test_the_killed_are_gone_within_two_leases(cluster, crowd):
    """SIGKILL; the default lease is 5 s, here 1 s."""
    server = cluster.start(workers=3)
    crowd.join_each(server, 10)
    everywhere(server, 3)
    victim = crowd.clients[0].pid
    os.kill(victim, signal.SIGKILL)
    killed_s = time.monotonic()
    left = sorted(client.id for client in crowd.clients if client.pid != victim)
    crowd.wait_for(lambda: server.get("/presence").json()["ids"] == left, "healing")
    assert time.monotonic() - killed_s < 2 * 1.0 + 1  # and what a busy machine adds


def test_the_stopped_are_gone_at_once(cluster, crowd):
    """SIGTERM of one worker: its clients leave, and it says so itself."""
    cluster.settings["WSHANDLER_PRESENCE_LEASE"] = 1000.0
    server = cluster.start(workers=2)
    crowd.join_each(server, 10)
    everywhere(server, 2)
    victim = crowd.clients[0].pid
    os.kill(victim, signal.SIGTERM)
    left = sorted(client.id for client in crowd.clients if client.pid != victim)
    crowd.wait_for(lambda: server.get("/presence").json()["ids"] == left, "news")


def test_on_presence_hears_of_all(cluster, crowd):
    """In every process that uses the collection: joins, updates, leaves, and kills."""
    server = cluster.start(workers=2)
    here, there = crowd.join_each(server, 1)
    pids = server.workers
    for client, name in ((here, "here"), (there, "there")):
        crowd.tell(client, "watch", name)
        crowd.wait_for(lambda client=client: client.texts("watching"), "watching")

    def heard(pid, what):
        events = [e for e in server.events() if e["event"] == "presence" and e["pid"] == pid]
        assert all(event["app"] for event in events)
        return [member for event in events for member in event[what]]

    both = [[here.id, {"name": "here"}], [there.id, {"name": "there"}]]
    for pid in pids:
        server.wait_for(lambda pid=pid: sorted(heard(pid, "joined")) == sorted(both), "joining")
    crowd.tell(there, "rename", "elsewhere")
    both[1] = [there.id, {"name": "elsewhere"}]

    def updated(pid):
        events = [e for e in server.events() if e["event"] == "metadata" and e["pid"] == pid]
        return [event["updated"] for event in events]

    for pid in pids:
        server.wait_for(lambda pid=pid: updated(pid) == [[both[1]]], "update")
    os.kill(there.pid, signal.SIGKILL)
    server.wait_for(lambda: heard(here.pid, "left") == [both[1]], "leaving")
    assert [member for member, _ in sorted(heard(here.pid, "joined"))] == sorted(
        [here.id, there.id]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_is_right_after_anything(cluster, crowd, seed):
    """Joins, leaves, SIGTERMs, SIGKILLs and stops in any order; then two leases."""
    dice = random.Random(seed)
    server = cluster.start(workers=3)
    log = []

    def alive():
        return [c for c in crowd.clients if c.close_code is None]

    def signal_one(*names, pause_s=0.0):
        """A worker; nobody, if it is about to end, for an earlier signal, and ends before this."""
        pid = dice.choice(server.workers)
        with contextlib.suppress(ProcessLookupError):
            for name in names:
                os.kill(pid, getattr(signal, name))
                time.sleep(pause_s)

    for _ in range(25):
        action = dice.choice(["join"] * 4 + ["leave"] * 3 + ["ask", "SIGTERM", "SIGKILL", "pause"])
        log.append(action)
        if action == "join":
            crowd.join(server.url("/ws"), dice.randint(1, 5))
        elif action == "leave" and alive():
            crowd.leave(dice.choice(alive()))
        elif action == "ask":
            server.get("/presence")
        elif action == "pause":
            # Shorter than a lease, and longer.
            signal_one("SIGSTOP", "SIGCONT", pause_s=dice.choice([0.1, 1.5]))
        elif action.startswith("SIG"):
            signal_one(action)

    def is_right():
        ids = sorted(client.id for client in alive())
        return all(answer["ids"] == ids for answer in everywhere(server, 3).values())

    crowd.wait_for(is_right, f"right account after {log}", 15)
    assert is_right()
