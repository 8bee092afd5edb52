"""A process with a log on a Redis, told what to do by its parent: see `tests.bus.member`."""

from flask_wshandler.bus import Kind
from flask_wshandler.history import stream
from flask_wshandler.history.log import Bounds, Draft, LogUnavailable
from flask_wshandler.history.redis_log import RedisLog
from tests.bus import member
from tests.deadlines import wait_for


class LogMember(member.Member):
    """One bus, its log, and what came."""

    def __init__(self, url, name, options):
        super().__init__(url, name, options)
        self.log = RedisLog(self.bus)
        self.logged = []

    def _receive(self, envelopes):
        super()._receive([each for each in envelopes if each.kind != Kind.LOGGED])
        for each in envelopes:
            if each.kind == Kind.LOGGED:
                position, draft = stream.decode(each.body)
                self.logged.append([*as_json(position), draft.payload.decode()])

    def append(self, topic, text, count=1000, age_s=60.0):
        """Append; why not, if it can't be."""
        try:
            self.log.append(topic, Draft(True, text.encode()), Bounds(count, age_s))
        except LogUnavailable as reason:
            return str(reason)
        return ""

    def append_many(self, topic, prefix, count, begin=0):
        """How many of them were queued."""
        numbers = range(begin, begin + count)
        return sum(not self.append(topic, f"{prefix} {number}", 100_000) for number in numbers)

    def append_spread(self, topics, prefix, count):
        """How many were queued, to one topic after the other."""
        return sum(
            not self.append(topics[number % len(topics)], f"{prefix} {number}", 1000)
            for number in range(count)
        )

    def came(self):
        return self.logged

    def came_count(self):
        return len(self.logged)

    def last(self, topic):
        return as_json(self.log.last_of([topic])[topic])

    def read(self, topic, after=0, most=100_000):
        """A page, as soon as it can be had."""
        page = wait_for(lambda: self._page(topic, after, most), "page")
        entries = [[each.number, each.payload.decode()] for each in page.entries]
        return [as_json(page.last), page.first_number, entries]

    def _page(self, topic, after, most):
        try:
            return self.log.read(topic, after, most)
        except LogUnavailable:
            return None

    def fork_and_append(self, topic, text):
        """Have a child append; wait for its end."""
        return member.in_child(lambda: self._append_as_child(topic, text))

    def _append_as_child(self, topic, text):
        assert not self.append(topic, text)
        self.bus.hand_over()
        assert any(text.encode() == each.payload for each in self.log.read(topic, 0).entries)
        self.log.close()
        self.bus.close()


def as_json(position):
    return [position.log_id.hex(), position.generation, position.number]


if __name__ == "__main__":
    member.main(LogMember)
