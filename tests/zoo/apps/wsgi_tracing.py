"""Tracers around the whole app: Sentry's and OpenTelemetry's WSGI middlewares."""

from flask import Flask
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

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
    app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app, tracer_provider=TracerProvider())
    app.wsgi_app = SentryWsgiMiddleware(app.wsgi_app)
    app.add_url_rule("/", "page", lambda: "page")
    return app
