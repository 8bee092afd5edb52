"""opentelemetry-instrumentation-flask: a span for each request."""

from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

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
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: [span.name for span in spans.get_finished_spans()])
    return app


def promise(site):
    """One for each; a function's ends with the function."""

    def names():
        return [name for name in site.get("/").json() if name != "GET /"]

    site.wait_for(lambda: len(names()) >= 2, "spans")
    assert sorted(names()) == ["GET /function", "GET /handler"]
