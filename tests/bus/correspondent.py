"""A process that hands over to others and takes what they hand over, told what by its parent."""

import concurrent.futures
import random
import time

from flask_wshandler.bus import connect
from flask_wshandler.collections.registry import CollectionRegistry

from .member import digest, in_child, main


def reply_to(body):
    return f"{len(body)} {digest(body)}".encode()


class Correspondent:
    """The node of a process, as an app has it. What it takes it answers by size and digest."""

    def __init__(self, url, name, options):
        self.registry = CollectionRegistry(connect(url, name, **options), take_letter=self._take)
        self.taken_count = 0

    def _take(self, body):
        self.taken_count += 1
        return reply_to(body)

    def be_addressable(self, name):
        return self.registry.node.be_addressable(name, 5)

    def hand_over(self, owner, size, timeout_s=60):
        """Whether the answer was right, None without one; and how many seconds it took."""
        body = random.Random(size).randbytes(size)
        begin_s = time.monotonic()
        reply = self.registry.node.hand_over(owner, body, timeout_s)
        took_s = time.monotonic() - begin_s
        return None if reply is None else reply == reply_to(body), took_s

    def hand_over_from_threads(self, owners, thread_count, each):
        """How many answers were right."""
        with concurrent.futures.ThreadPoolExecutor(thread_count) as pool:
            begun = [
                pool.submit(self.hand_over, owner, 100 * number + size)
                for number, owner in enumerate(owners * each)
                for size in range(10)
            ]
            return sum(future.result()[0] is True for future in begun)

    def fork(self, owner, own_name):
        """Hand over from a forked child, which is another process."""
        return in_child(lambda: self._hand_over_as_child(owner, own_name))

    def _hand_over_as_child(self, owner, own_name):
        assert self.be_addressable(own_name)
        assert self.hand_over(owner, 1000)[0]
        self.registry.bus.close()

    def count(self):
        return self.taken_count

    def is_up(self):
        return self.registry.bus.is_up

    def stats(self):
        found = self.registry.bus.stats()
        return {name: getattr(found, name) for name in found.__slots__}


if __name__ == "__main__":
    main(Correspondent)
