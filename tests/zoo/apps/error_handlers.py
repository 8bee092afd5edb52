"""Error handlers for everything: refusals become JSON, callbacks' errors are the app's as well."""

from flask import Flask, abort, got_request_exception, json, request
from werkzeug.exceptions import HTTPException

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

LOGS_ERRORS = True

sockets = WebSockets()
seen = []


class Fragile(WebSocketHandler):
    def on_message(self, message):
        if message == "break":
            raise LookupError(message)
        self.send(message)

    def on_error(self):
        seen.append(f"on_error {self.error!r}")


def note(sender, exception):
    seen.append(f"{request.path} {exception!r}")


@sockets.route("/function")
def function(ws):
    while (message := ws.receive()) != "break":
        ws.send(message)
    raise LookupError(message)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.errorhandler(HTTPException)
    def as_json(error):
        response = error.get_response()
        response.data = json.dumps({"code": error.code, "name": error.name})
        response.content_type = "application/json"
        return response

    @app.errorhandler(Exception)
    def anything(error):
        return {"code": 500, "name": type(error).__name__}, 500

    got_request_exception.connect(note, app)

    @app.route("/")
    def page():
        return seen

    @app.route("/handler")
    def handler():
        if "forbidden" in request.args:
            abort(403)
        return accept_websocket_request(None if "wrong" in request.args else Fragile())

    return app


def promise(site):
    """In JSON: not found, forbidden, no WebSocket, an error of the view. 1011: of a callback."""
    for path, status in (("/no", 404), ("/handler?forbidden", 403), ("/handler?wrong", 500)):
        client = site.knock(path)
        assert client.status == status
        assert client.header("Content-Type") == "application/json"
    assert site.get("/handler").json() == {"code": 400, "name": "Bad Request"}
    for path in ("/handler", "/function"):
        client = site.open(path)
        client.send_text("break")
        assert client.read_close()[0] == 1011
    expected = {"on_error LookupError('break')", "/handler LookupError('break')"}
    site.wait_for(lambda: expected < set(site.get("/").json()), "what has been seen")
    assert "/function LookupError('break')" in site.get("/").json()
