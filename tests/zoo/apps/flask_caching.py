"""Flask-Caching: cached pages, memoized functions in callbacks, a view cached by mistake."""

from flask import Flask
from flask_caching import Cache

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "HELLO"

sockets = WebSockets()
cache = Cache()
computed = []


@cache.memoize(60)
def shouted(message):
    computed.append(message)
    return message.upper()


@sockets.route("/handler")
class Shouting(WebSocketHandler):
    def on_message(self, message):
        self.send(shouted(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(shouted(ws.receive()))


def create_app():
    app = Flask(__name__)
    app.config["CACHE_TYPE"] = "SimpleCache"
    cache.init_app(app)
    sockets.init_app(app)
    app.add_url_rule("/", "page", view_func=cache.cached(60)(lambda: str(len(computed))))
    app.add_url_rule("/computed", "computed", lambda: computed)
    return app


def promise(site):
    """The page is cached, and the value of the first client is the second one's."""
    assert site.get("/").body == "0"
    assert site.get("/computed").json() == ["hello"]
