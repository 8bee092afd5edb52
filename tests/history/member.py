"""A process with a log, told what to do by its parent: a JSON list a line, and an answer each."""

import json
import os
import sys

from flask_wshandler.history.log import Bounds, LogUnavailable
from tests.bus.member import obey

from .places import PLACES

BOUNDS = Bounds(100_000, 86400.0)


def told(position):
    """A position for JSON."""
    return [position.log_id.hex(), position.generation, position.number]


class Member:
    """One log, and what was appended to it."""

    def __init__(self, kind, address, options):
        self.place = PLACES[kind](address)
        self.log = self.place.open(**options)

    def append(self, topic, text):
        try:
            return told(self.place.put(self.log, topic, text, BOUNDS))
        except LogUnavailable as error:
            return str(error)

    def flood(self, topic, prefix, count):
        """Append so many messages; whether each could be read at once."""
        is_there = True
        for number in range(count):
            text = f"{prefix} {number}"
            at = self.place.insist(self.log, topic, text, BOUNDS)
            (entry,) = self.log.read(topic, at.number - 1, 1).entries
            is_there = is_there and entry.payload.decode() == text
        return is_there

    def flood_until_killed(self, topic, prefix):
        """Say the number of each when it was appended."""
        number = 0
        while True:
            at = self.place.insist(self.log, topic, f"{prefix} {number}", BOUNDS)
            print(json.dumps([f"{prefix} {number}", at.number]), flush=True)
            number += 1

    def texts(self, topic):
        return [entry.payload.decode() for entry in self.log.read(topic, 0).entries]

    def fork(self, topic):
        """A child that appends, and ends as an interpreter does; the descriptors it had of ours."""
        self.place.put(self.log, topic, "before", BOUNDS)
        reader, writer = os.pipe()
        if not (child := os.fork()):
            inherited = [
                os.readlink(f"/proc/self/fd/{each}")
                for each in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{each}")
            ]
            self.place.put(self.log, topic, "child", BOUNDS)
            os.write(writer, json.dumps([each for each in inherited if "history" in each]).encode())
            sys.exit()
        os.close(writer)
        os.waitpid(child, 0)
        self.place.put(self.log, topic, "parent", BOUNDS)
        with os.fdopen(reader) as pipe:
            return json.load(pipe)

    def close(self):
        self.log.close()


def main():
    kind, address, options = sys.argv[1:]
    obey(Member(kind, address, json.loads(options)))


if __name__ == "__main__":
    main()
