"""The client of python-socketio: `flask_socketio_client.py PORT COUNT RATE`."""

import sys
import threading

import socketio
from returning.stream import Ends, talk
from socketio.exceptions import SocketIOError

port, count, rate = sys.argv[1:]
end = Ends()
is_there = threading.Event()
client = socketio.Client()  # comes back, with its defaults
client.on("number", end.came.append)
client.on("connect", is_there.set)
client.on("disconnect", is_there.clear)


def send(number):
    """Once it is connected: what raises was not taken."""
    while True:
        is_there.wait()
        try:
            client.emit("number", number)
        except SocketIOError:
            is_there.wait(0.01)
        else:
            return


client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
talk(end, int(count), float(rate), send)
client.disconnect()
