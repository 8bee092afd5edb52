"""A request class of one's own: attributes with defaults, properties, another address."""

from flask import Flask, Request, request
from werkzeug.utils import cached_property

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello acme 203.0.113.9 ACME"

sockets = WebSockets()


class TenantRequest(Request):
    tenant = None

    @cached_property
    def shouted(self):
        return (self.tenant or "nobody").upper()


def answer(message):
    return f"{message} {request.tenant} {request.remote_addr} {request.shouted}"


@sockets.route("/handler")
class OfTenant(WebSocketHandler):
    def on_message(self, message):
        self.send(answer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(answer(ws.receive()))


def create_app():
    app = Flask(__name__)
    app.request_class = TenantRequest
    sockets.init_app(app)

    @app.before_request
    def load_tenant():
        request.tenant = "acme"
        request.remote_addr = "203.0.113.9"

    app.add_url_rule("/", view_func=lambda: request.tenant)
    return app
