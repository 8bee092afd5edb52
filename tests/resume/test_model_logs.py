"""What is broadcast to a collection with history arrives once, also over new handlers: by places.

The log here is a list, and its members are the handlers that have opened; what is proved is what
client and server say to each other of it. `tests/history` has the logs.
"""

import pytest

from .rig import logged
from .test_model import Model, ModelClient, played

STREAM = "0a1b2c3d4e5f"
_RUNS = 200
_MOST_IN_LOG = 20


def place(number):
    return f"{STREAM}.{number:x}"


class LoggedClient(ModelClient):
    """One that says how far it is."""

    def __init__(self):
        super().__init__()
        #: (number, whether it is a gap up to there)
        self.heard = []

    def take(self, line, message):
        if message[0] not in "@g":
            super().take(line, message)
            return
        said, end, text = message[1:].partition("\n")
        stream, _, number = said.partition(".")
        self.places[stream] = number
        is_gap = message[0] == "g"
        assert (end, text) == (("", "") if is_gap else ("\n", f"l{int(number, 16)}"))
        self.heard.append((int(number, 16), is_gap))
        if self.endpoint.take(1):
            self.say(line, self.endpoint.tell())


class LoggedModel(Model):
    """With a log, processes that are killed, and others that can only ask for a release."""

    make_client = LoggedClient

    def __init__(self, seed, **settings):
        self.last = 0
        self.members = []
        super().__init__(seed, **settings)
        original = self.site.make_handler

        def make_handler():
            handler = original()
            opened = handler.opened

            def opened_as_member(connection):
                self.join(handler, connection)
                opened(connection)

            handler.opened = opened_as_member
            return handler

        self.site.make_handler = make_handler

    def steps(self):
        return super().steps() + (self.log,) * 8 + (self.kill, self.change_process)

    def join(self, handler, connection):
        """As a collection does it."""
        said = connection.positions.take_place(STREAM)
        if said is not None:
            first = max(1, self.last + 1 - _MOST_IN_LOG)
            after = int(said, 16)
            if after < first - 1:
                after = first - 1
                connection.positions.tell_gap(place(after))
            for number in range(after + 1, self.last + 1):
                connection.deliver(logged(f"l{number}", place(number)))
        self.members.append(connection)

    def log(self):
        for _ in range(self.random.choice((1, 1, 1, 12))):
            self.last += 1
            message = logged(f"l{self.last}", place(self.last))
            for connection in self.members:
                connection.deliver(message)

    def kill(self):
        """All processes that there are."""
        for line in self.lines:
            if line.wire is not None:
                line.is_cut = True
                line.to_server = line.to_client = b""
        for handler in self.site.handlers:
            handler.connection = None
        self.site.wires.clear()
        self.members.clear()
        self.site.forget()
        if self.random.random() < 0.5:
            self.connect()

    def change_process(self):
        self.site.reach_another_process()

    def settle(self):
        super().settle()
        if self.client.line.wire.is_over:
            # Its handler was about to be closed; so it comes back once more.
            super().settle()


@pytest.mark.parametrize("resume_buffer", [250, 256 * 1024])
@pytest.mark.parametrize("seed", range(_RUNS))
def test_each_message_arrives_once_in_order_or_a_gap_is_told(seed, resume_buffer):
    """From the first that the client has heard of, whatever handlers it has had."""
    model = played(seed, LoggedModel, resume_buffer=resume_buffer)
    model.log()
    model.hold()
    (before, _), *rest = model.client.heard
    for number, is_gap in rest:
        assert number > before if is_gap else number == before + 1
        before = number
    assert before == model.last


def test_the_model_has_what_it_is_for():
    """New handlers after kills and releases, messages that come again, and gaps."""
    models = [played(seed, LoggedModel) for seed in range(20)]
    assert any(is_gap for model in models for _, is_gap in model.client.heard)
    assert sum(model.client.has_been_reset for model in models) > 10
    assert sum(len(model.client.heard) for model in models) > 20 * len(models)
