"""The same with Flask-SocketIO: two servers with a Redis message queue between them."""

import os

from flask import Flask, request
from flask_socketio import SocketIO
from loops import emit_for_view

app = Flask(__name__)
socketio = SocketIO(app, message_queue=os.environ["BUS_URL"], async_mode="threading")


@app.get("/emit")
def emit():
    """Broadcast so many messages in one go; the seconds that the calls took."""
    return emit_for_view(lambda text: socketio.emit("m", text), request.args)
