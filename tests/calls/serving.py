"""What serves the calls of a program: an app, and a peer that says what a test wants."""

import contextlib
import json
import threading

from werkzeug.serving import make_server

from flask_wshandler.client import connect
from tests.deadlines import DEADLINE_S
from tests.resume.server import ResumableServer


@contextlib.contextmanager
def served(app):
    """The port of a server in a thread."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class ScriptedPeer:
    """A server that answers nothing by itself, and its client's connection."""

    def __init__(self, server, connection):
        self.server = server
        self.connection = connection
        self.number = 0
        self.read = 0

    def session(self):
        return self.server.session(self.number)

    def say(self, text=None, /, **message):
        """A message of JSON-RPC, or any text."""
        self.session().send(json.dumps({"jsonrpc": "2.0", **message}) if text is None else text)

    def item(self, value, id=1):
        self.say(method="$/item", params={"id": id, "value": value})

    def hear(self):
        """What the client has said next."""
        taken = self.session().wait_taken(self.read + 1)
        self.read += 1
        return json.loads(taken[self.read - 1])

    def restart(self):
        """Forget the client: it comes back to another handler."""
        self.server.forget()
        self.server.cut(self.session())
        self.number += 1
        self.read = 0
        self.session()


@contextlib.contextmanager
def scripted(**options):
    with (
        ResumableServer() as server,
        connect(server.uri, _jitter=lambda limit_s: 0.0, **options) as connection,
    ):
        yield ScriptedPeer(server, connection)


class Caller(threading.Thread):
    """A call in a thread of its own, and what has become of it."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self._call = call
        self._value = None
        self._error = None
        self.start()

    def run(self):
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def result(self):
        self.join(DEADLINE_S)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._value
