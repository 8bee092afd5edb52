"""Flask's logging documentation: dictConfig first, and a formatter that injects the request."""

import logging
from logging.config import dictConfig

from flask import Flask, current_app, has_request_context, request

from flask_wshandler import WebSocketHandler, WebSockets

ALONE = True

sockets = WebSockets()


class RequestFormatter(logging.Formatter):
    def format(self, record):
        record.url = request.url if has_request_context() else None
        record.remote_addr = request.remote_addr if has_request_context() else None
        return super().format(record)


@sockets.route("/handler")
class Logging(WebSocketHandler):
    def on_message(self, message):
        current_app.logger.info("handler: %s", message)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        message = ws.receive()
        current_app.logger.info("function: %s", message)
        ws.send(message)


def create_app():
    dictConfig(
        {
            "version": 1,
            "formatters": {
                "default": {
                    "()": RequestFormatter,
                    "format": "%(remote_addr)s requested %(url)s: %(levelname)s %(message)s",
                }
            },
            "handlers": {"wsgi": {"class": "logging.StreamHandler", "formatter": "default"}},
            "root": {"level": "DEBUG", "handlers": ["wsgi"]},
        }
    )
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Every line has its request's URL, those of callbacks, too."""
    for path, message in (("handler", "hello"), ("function", "hello")):
        line = f"127.0.0.1 requested http://{site.host}/{path}: INFO {path}: {message}"
        assert line in site.log
