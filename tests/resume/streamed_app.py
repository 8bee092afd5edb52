"""An app whose clients come by WebSockets or over HTTP."""

import json
import os

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

app = Flask(__name__)
app.config.update(
    {key: json.loads(value) for key, value in os.environ.items() if key.startswith("WSHANDLER_")}
)
sockets = WebSockets(app)


def note(text):
    with open(os.environ["EVENTS"], "a") as events:
        events.write(text + "\n")


@sockets.route("/echo")
class Echo(WebSocketHandler):
    """Says what it is told, and ends when it is told to."""

    def on_message(self, message):
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            self.close(int(code), reason)
        else:
            self.send(message)

    def on_close(self):
        note(f"closed {self.close_code} {self.close_reason}")


@app.route("/forbidden")
def forbidden():
    return "not you", 403
