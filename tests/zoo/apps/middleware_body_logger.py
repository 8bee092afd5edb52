"""A middleware that logs what the app answers, bodies included."""

import logging

from flask import Flask

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


logger = logging.getLogger(__name__)
sizes = []


class BodyLogger:
    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        pieces = list(self.app(environ, start_response))
        sizes.append(sum(map(len, pieces)))
        logger.info("%s answers %r", environ["PATH_INFO"], pieces)
        return pieces


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.wsgi_app = BodyLogger(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app
