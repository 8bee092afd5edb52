"""Werkzeug's LintMiddleware, which complains of all that WSGI does not allow."""

from flask import Flask
from werkzeug.middleware.lint import LintMiddleware

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
    sockets.init_app(app)
    app.wsgi_app = LintMiddleware(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app
