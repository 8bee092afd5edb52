"""Flask-Babel: the locale of the handshake, in callbacks as well."""

import datetime

from flask import Flask, request
from flask_babel import Babel, format_date, get_locale

from flask_wshandler import WebSocketHandler, WebSockets

HEADERS = {"Accept-Language": "de-DE, en;q=0.5"}
ANSWER = "hello de 29. Februar 2028"

sockets = WebSockets()


def answer(message):
    return f"{message} {get_locale()} {format_date(datetime.date(2028, 2, 29), 'long')}"


@sockets.route("/handler")
class Localized(WebSocketHandler):
    def on_message(self, message):
        self.send(answer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(answer(ws.receive()))


def create_app():
    app = Flask(__name__)
    Babel(app, locale_selector=lambda: request.accept_languages.best_match(["de", "fr"]))
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: answer("page"))
    return app


def promise(site):
    """Another client speaks another language."""
    assert site.ask("/handler", headers={"Accept-Language": "fr"}).startswith("hello fr 29 f")
