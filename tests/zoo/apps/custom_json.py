"""A JSON provider of one's own, which send_json and broadcast_json use as pages do."""

import decimal

from flask import Flask, current_app
from flask.json.provider import DefaultJSONProvider

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

ANSWER = '{"message":"hello","price":"1.50 EUR"}'

sockets = WebSockets()
clients = WebSocketCollection("custom-json")


class MoneyProvider(DefaultJSONProvider):
    @staticmethod
    def default(value):
        if isinstance(value, decimal.Decimal):
            return f"{value} EUR"
        return DefaultJSONProvider.default(value)

    def dumps(self, value, **options):
        return super().dumps(value, **{"separators": (",", ":"), **options})


def offer(message):
    return {"price": decimal.Decimal("1.50"), "message": message}


@sockets.route("/handler")
class Priced(WebSocketHandler):
    def on_message(self, message):
        self.send_json(offer(message))


@sockets.route("/all")
class Broadcasting(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        clients.broadcast_json(offer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(current_app.json.dumps(offer(ws.receive())))


def create_app():
    app = Flask(__name__)
    app.json = MoneyProvider(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: offer("page"))
    return app


def promise(site):
    assert site.ask("/all") == ANSWER
