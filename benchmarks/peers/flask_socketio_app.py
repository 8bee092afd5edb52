"""Flask-SocketIO, in the mode that the environment names."""

import os

from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, async_mode=os.environ["ASYNC_MODE"])


@socketio.on("echo")
def echo(message):
    """Answer an event with the same."""
    emit("echo", message)


@socketio.on("broadcast")
def broadcast(message):
    """Send an event to all that are here."""
    emit("broadcast", message, broadcast=True)


@app.get("/")
def index():
    """A page."""
    return "ok"
