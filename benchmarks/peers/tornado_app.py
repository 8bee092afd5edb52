"""Tornado: `python tornado_app.py PORT`."""

import asyncio
import os
import sys

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

clients = set()


class Echo(WebSocketHandler):
    """Answers a message with the same."""

    def get_compression_options(self):
        return {} if "COMPRESSION" in os.environ else None

    def on_message(self, message):
        self.write_message(message)


class Broadcast(WebSocketHandler):
    """Sends a message to all that are here."""

    def open(self):
        clients.add(self)

    def on_message(self, message):
        for client in list(clients):
            try:
                client.write_message(message)
            except WebSocketClosedError:
                continue

    def on_close(self):
        clients.discard(self)


class Index(RequestHandler):
    """A page."""

    def get(self):
        self.write("ok")


async def main():
    """Serve for ever."""
    app = Application([("/echo", Echo), ("/broadcast", Broadcast), ("/", Index)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
