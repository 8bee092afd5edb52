"""Redis is stopped and started again in the middle; nothing waits for it."""

import os
import signal

import pytest

from .conftest import Cluster


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path, "redis")
    yield cluster
    cluster.stop()


def test_local_delivery_and_http_go_on(cluster, crowd):
    """Down: the own process's clients get everything. Back: all of them again."""
    server = cluster.start(workers=2)
    here, there = crowd.join_each(server, 4)

    cluster.redis.stop()
    crowd.tell(here, "flood", "down", 2000)
    crowd.wait_for_texts("down", [f"down {n}" for n in range(2000)], [here])
    for _ in range(20):
        assert server.get("/pid").status == 200
        assert server.get("/presence").status == 200
    newcomers = crowd.join(server.url("/ws"), 4)

    cluster.redis.start()

    # Of each worker, by its log: ten requests may all be answered by the one that is back first.
    crowd.wait_for(lambda: server.log.count(" is back: ") == 2, "return in each worker")
    crowd.tell(here, "say", "back")
    crowd.wait_for_texts("back", ["back"], [here, there, *newcomers])
    down = there.texts("down")
    assert down == sorted(set(down), key=lambda text: int(text.split()[1]))
    assert server.log.count(" is down: ") == 2, server.log  # once in each worker
    assert server.log.count(" is back: ") == 2
    assert server.get("/bus").json()["is_up"]


def test_a_redis_that_does_not_answer(cluster, crowd):
    """Stopped, rather than gone: nothing waits either."""
    server = cluster.start(workers=2)
    crowd.join_each(server, 4)
    os.kill(cluster.redis.process.pid, signal.SIGSTOP)
    try:
        speaker = crowd.clients[0]
        crowd.tell(speaker, "flood", "m", 1000)
        own = [client for client in crowd.clients if client.pid == speaker.pid]
        crowd.wait_for_texts("m", [f"m {n}" for n in range(1000)], own)
        assert server.get("/pid").status == 200
    finally:
        os.kill(cluster.redis.process.pid, signal.SIGCONT)
    crowd.wait_for_texts("m", [f"m {n}" for n in range(1000)])
