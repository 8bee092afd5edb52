"""Flask-SocketIO. Whoever connects is put into the room that is sent to."""

from flask import Flask
from flask_socketio import SocketIO, join_room
from returning.stream import Ends, add_pages

app = Flask(__name__)
# Handlers of one client in a thread each, which is the default, would run in any order.
socketio = SocketIO(
    app, async_mode="threading", async_handlers=False, ping_interval=2, ping_timeout=2
)
end = Ends()


@socketio.on("connect")
def connect():
    """Each time."""
    join_room("clients")


@socketio.on("number")
def number_came(number):
    """From the client."""
    end.came.append(number)


add_pages(app, end, lambda number: socketio.emit("number", number, to="clients"))
