"""prometheus-flask-exporter: it counts handshakes as requests, by status."""

from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

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
    PrometheusMetrics(app, registry=CollectorRegistry(), group_by="endpoint")
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    counted = 'flask_http_request_total{method="GET",status="101"} 2.0'
    assert counted in site.get("/metrics").body
