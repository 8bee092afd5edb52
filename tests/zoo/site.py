"""An app of the zoo, as a visitor sees it."""

import http.client
import http.cookies
import json
import re
import urllib.parse

from websockets.utils import accept_key, generate_key

from tests.deadlines import DEADLINE_S
from tests.live.wire import RawClient, close, text

_TROUBLE = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|^\w+(Error|Exception|Warning)\b", re.M)


class Client(RawClient):
    """A WebSocket of a visitor, with a key of its own as browsers' have."""

    def __init__(self, host):
        super().__init__(host)
        self.key = generate_key()

    def ask(self, path, headers, early):
        """Send the request in Firefox's words, with `early` behind it; `headers` name the host."""
        change = {"Connection": "keep-alive, Upgrade", "Sec-WebSocket-Key": self.key}
        self.handshake(path, headers, early, change=change, leave_out=["Host"])

    def send_text(self, message):
        self.send(text(message))

    def leave(self):
        """Close, and check that the app closes as well: its frame, then the end."""
        self.send(close())
        assert self.read_close() == (1000, "")
        assert self.read_to_end()


class Site:
    """One app and one visitor, whose browser keeps cookies and names its origin."""

    def __init__(self, server, host, patience_s=DEADLINE_S):
        """Nothing is waited for longer than `patience_s`."""
        self._server = server
        self.host = host
        self.cookies = {}
        self._log_start = len(server.log)
        self._patience_s = patience_s
        self._clients = []

    def get(self, path, headers=None, host=None):
        return self._request("GET", path, headers, None, host)

    def post(self, path, form=None, headers=None, host=None, raw=None):
        """Of a form, or `raw` text."""
        kind = "application/x-www-form-urlencoded" if raw is None else "text/plain"
        body = urllib.parse.urlencode(form or {}) if raw is None else raw
        return self._request("POST", path, {"Content-Type": kind, **(headers or {})}, body, host)

    def _request(self, method, path, headers, body, host):
        """The response, with its `body` read as text, `json()`, and no redirect followed."""
        connection = http.client.HTTPConnection(self._server.host, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, dict(self._headers(headers, host)))
            response = connection.getresponse()
            response.content = response.read()
        finally:
            connection.close()
        response.body = response.content.decode(errors="replace")
        response.json = lambda: json.loads(response.body)
        for line in response.headers.get_all("Set-Cookie", ()):
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response

    def _headers(self, headers, host):
        host = host or self.host
        found = {"Host": host, "Origin": f"http://{host}"}
        if self.cookies:
            found["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**found, **(headers or {})}.items()

    def knock(self, path, headers=None, host=None, early=None):
        """Ask for a WebSocket: a client with the answer's `status` and headers.

        With an `early` message right behind the request.
        """
        client = Client(self._server.host)
        self._clients.append(client)
        client.socket.settimeout(self._patience_s)
        sent_early = b"" if early is None else text(early)
        client.ask(path, self._headers(headers, host), sent_early)
        if client.status != 101:
            client.end()  # a sync worker of gunicorn's would wait for that, for 2 s
        return client

    def open(self, path, headers=None, host=None):
        """A WebSocket, whose handshake is as RFC 6455 (4.2.2) wants it."""
        client = self.knock(path, headers, host)
        assert client.status == 101, (client.status, client.headers)
        assert client.header("Upgrade").lower() == "websocket"
        assert client.header("Connection").lower() == "upgrade"
        assert client.header("Sec-WebSocket-Accept") == accept_key(client.key)
        assert client.header("Content-Length") is None
        assert client.header("Transfer-Encoding") is None
        return client

    def ask(self, path, message="hello", headers=None, host=None):
        """What a WebSocket answers to a message; it is closed, and has to do so cleanly."""
        with self.open(path, headers, host) as client:
            client.send_text(message)
            answer = client.read_text()
            client.leave()
        return answer

    def wait_for(self, question, what="answer"):
        """Ask until the answer is true, and return it."""
        return self._server.wait_for(question, what, self._patience_s)

    @property
    def log(self):
        """What the server has written since this visitor came."""
        return self._server.log[self._log_start :]

    def wait_for_the_end(self):
        """The visitor is gone, and the app has noticed."""
        for client in self._clients:
            client.end()
        self.wait_for(self._is_over, "end of connections")

    def _is_over(self):
        return self._server.get("/connections").json()["open"] == 0

    def trouble(self):
        """The log, if there is anything in it that should not be."""
        return self.log if _TROUBLE.search(self.log) else ""
