"""`before_request` functions that look at the body of every request, whatever it is."""

from flask import Flask, request

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        assert (request.get_data(), request.get_json(silent=True)) == (b"", None)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.before_request
    def look():
        request.get_json(silent=True)
        request.get_data()
        assert not request.form
        assert not request.files
        assert not request.stream.read()

    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """A message right behind the request is no body."""
    for path in ("/handler", "/function"):
        with site.knock(path, early="early") as client:
            assert client.read_text() == "early"
            client.leave()
