"""Flask-DebugToolbar: it wraps every view, and writes into pages."""

from flask import Flask
from flask_debugtoolbar import DebugToolbarExtension

from flask_wshandler import WebSocketHandler, WebSockets

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
    app.debug = True
    app.config["SECRET_KEY"] = "zoo"
    app.config["DEBUG_TB_PROFILER_ENABLED"] = True
    DebugToolbarExtension(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: "<html><body>page</body></html>")
    return app


def promise(site):
    assert "flDebug" in site.get("/").body
