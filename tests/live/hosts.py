"""An app that routes by host."""

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

app = Flask(__name__, host_matching=True, static_folder=None)
WebSockets(app)


class Named(WebSocketHandler):
    def __init__(self, name):
        self.name = name

    def on_message(self, message):
        self.send(self.name)


@app.route("/ws", host="<name>.example.org")
def view(name):
    return accept_websocket_request(Named(name))
