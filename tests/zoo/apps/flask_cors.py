"""Flask-CORS: pages of other sites may ask; WebSockets have WSHANDLER_ALLOWED_ORIGINS for that."""

from flask import Flask
from flask_cors import CORS

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"Origin": "https://other.example"}

sockets = WebSockets()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    app.config["WSHANDLER_ALLOWED_ORIGINS"] = ["https://other.example"]
    CORS(app, origins="https://other.example", supports_credentials=True)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def promise(site):
    """Its headers are on pages and on handshakes; a third site gets no WebSocket."""
    for response in (site.get("/", HEADERS).getheader, site.open("/handler", HEADERS).header):
        assert response("Access-Control-Allow-Origin") == "https://other.example"
    assert site.knock("/handler", {"Origin": "https://third.example"}).status == 403
