"""An app for tests in one process."""

from flask import Flask

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request


def create_app(**config):
    app = Flask(__name__)
    app.config.update({"TESTING": True, "SECRET_KEY": "for tests", **config})
    sockets = WebSockets(app)

    @sockets.route("/echo")
    class Echo(WebSocketHandler):
        def on_message(self, message):
            if message == "fail":
                raise LookupError("in on_message")
            if message == "bye":
                self.close(4000, "Bye!")
            self.send(message)

    @app.get("/any")
    def any_path():
        return accept_websocket_request(Echo())

    @app.get("/any/<path:rest>")
    def any_subpath(rest):
        return accept_websocket_request(Echo())

    @sockets.route("/function")
    def function(ws):
        ws.send(ws.receive())

    app.sockets = sockets
    return app
