"""The app under test, in several workers: each broadcasts while there is a file `sending`."""

import os
import threading
import time
from pathlib import Path

from flask import Flask

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

DIRECTORY = Path(os.environ["KILLS_DIRECTORY"])
RATE = float(os.environ["KILLS_RATE"])

app = Flask(__name__)
app.config.update(
    WSHANDLER_BUS=os.environ["BUS_URL"],
    WSHANDLER_BUS_NAME="kills",
    WSHANDLER_PING_INTERVAL=2,
    WSHANDLER_PING_TIMEOUT=2,
)
sockets = WebSockets(app)
clients = WebSocketCollection("clients", history=int(os.environ["HISTORY"]) or None)


@sockets.route("/stream")
class Client(WebSocketHandler):
    """Listens."""

    def on_open(self):
        clients.add(self)
        self.send(f"ready {os.getpid()}")


def send_all():
    """Write down what was sent, once `broadcast` has returned: a file outlives a killed process."""
    said = os.open(DIRECTORY / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        time.sleep(1 / RATE)
        if (DIRECTORY / "sending").exists():
            name = f"{os.getpid()}-{number}"
            with app.app_context():
                clients.broadcast(name)
            os.write(said, f"{name}\n".encode())
            number += 1


threading.Thread(target=send_all, daemon=True).start()


@app.get("/")
def index():
    return "ok"
