"""`WebSockets(app)` and then `init_app(app)` again, and a second object for the same app."""

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets

early = WebSockets()


@early.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


def create_app():
    app = Flask(__name__)
    sockets = WebSockets(app)

    @sockets.route("/function")
    def function(ws):
        while True:
            ws.send(ws.receive())

    sockets.init_app(app)
    early.init_app(app)
    early.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    return app
