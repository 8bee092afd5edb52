"""A process on a bus, told what to do by its parent: a JSON list a line, and a JSON answer each."""

import base64
import hashlib
import json
import logging
import os
import random
import sys
import time

from flask_wshandler import WebSocketCollection
from flask_wshandler.bus import Kind, connect


def digest(body):
    return hashlib.sha256(body).hexdigest()


def in_child(work):
    """Do it in a forked child, and wait for its end; whether it was done."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        work()
        os._exit(0)
    except BaseException:
        logging.exception("the child")
        os._exit(1)


class Member:
    """One bus, and what came from it."""

    def __init__(self, url, name, options):
        self.bus = connect(url, name, **options)
        self.bus.attach(self._receive)
        self.received = []
        self.waits_count = 0

    def _receive(self, envelopes):
        self.received += [(each.topic, each.kind, each.body) for each in envelopes]

    def subscribe(self, *topics):
        for topic in topics:
            self.bus.subscribe(topic)
        return self.bus.wait_until_subscribed(5)

    def unsubscribe(self, topic):
        self.bus.unsubscribe(topic)
        return self.bus.wait_until_subscribed(5)

    def publish(self, topic, body, kind=int(Kind.TEXT)):
        self.bus.publish(Kind(kind), topic, base64.b64decode(body))

    def flood(self, topic, prefix, count, begin=0):
        for number in range(begin, begin + count):
            self.bus.publish(Kind.TEXT, topic, f"{prefix} {number}".encode())

    def publish_large(self, topic, size, seed):
        """Publish so many bytes that only their seed tells."""
        self.bus.publish(Kind.BINARY, topic, random.Random(seed).randbytes(size))

    def broadcast(self, name, size):
        """As a collection does; count the calls that take long."""
        begin_s = time.monotonic()
        WebSocketCollection(name, bus=self.bus).broadcast(bytes(size))
        self.waits_count += time.monotonic() - begin_s > 1

    def waits(self):
        return self.waits_count

    def serve(self):
        self.bus.serve_clients()

    def digests(self):
        """The size of each message, and what tells its bytes from others."""
        return [[len(body), digest(body)] for _, _, body in self.received]

    def count(self):
        return len(self.received)

    def texts(self, topic):
        return [body.decode() for name, _, body in self.received if name == topic]

    def take(self):
        taken, self.received = self.received, []
        return [(topic, kind, base64.b64encode(body).decode()) for topic, kind, body in taken]

    def stats(self):
        found = self.bus.stats()
        return {name: getattr(found, name) for name in found.__slots__}

    def peers(self):
        return self.bus.peer_count()

    def threads(self):
        return sorted(os.listdir("/proc/self/task")).__len__()

    def descriptors(self):
        return len(os.listdir("/proc/self/fd"))

    def fork(self, topic):
        """A child that subscribes and publishes; wait for its end."""
        in_child(lambda: self._publish_as_child(topic))

    def _publish_as_child(self, topic):
        self.bus.subscribe(topic)
        assert self.bus.wait_until_subscribed(5)
        self.bus.publish(Kind.TEXT, topic, b"from the child")
        self.bus.close()

    def close(self):
        self.bus.close()


def main(kind=Member):
    """Do what is said, by the methods of a Member or of another `kind`."""
    url, name, options = sys.argv[1:]
    logging.basicConfig(format="%(levelname)s %(message)s")
    obey(kind(url, name, json.loads(options)))


def obey(member):
    """Do what is said: a line is a method's name and its arguments, or the answer."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        print(json.dumps(getattr(member, method)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
