"""flask-sock: a function per client, in the thread or greenlet of its request."""

import threading
import time

from flask import Flask
from flask_sock import Sock
from simple_websocket import ConnectionClosed

app = Flask(__name__)
sock = Sock(app)
clients = set()
lock = threading.Lock()


@sock.route("/echo")
def echo(ws):
    """Answer a message with the same."""
    while True:
        ws.send(ws.receive())


@sock.route("/broadcast")
def broadcast(ws):
    """Send a message to all that are here."""
    with lock:
        clients.add(ws)
    try:
        while True:
            message = ws.receive()
            with lock:
                members = list(clients)
            for member in members:
                try:
                    member.send(message)
                except ConnectionClosed:
                    continue
    finally:
        with lock:
            clients.discard(ws)


@sock.route("/slow")
def slow(ws):
    """Wait, as for a database, before the answer."""
    while True:
        message = ws.receive()
        time.sleep(0.01)
        ws.send(message)


@app.get("/")
def index():
    """A page."""
    return "ok"
