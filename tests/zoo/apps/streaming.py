"""Flask's streaming: generators with the request's context, in pages and in callbacks."""

from flask import Flask, Response, request, stream_template_string, stream_with_context

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello, hello"

sockets = WebSockets()


def twice(message):
    @stream_with_context
    def generate():
        yield message
        yield ", "
        yield message
        assert request.path != "/"

    return "".join(generate())


@sockets.route("/handler")
class Twice(WebSocketHandler):
    def on_message(self, message):
        self.send(twice(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(twice(ws.receive()))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.get("/")
    def page():
        return stream_template_string("{{ request.path }}")

    @app.get("/csv")
    def csv():
        rows = (f"{request.args['name']},{number}\n" for number in range(3))
        return Response(stream_with_context(rows), mimetype="text/csv")

    return app


def promise(site):
    """Streamed pages beside them."""
    assert site.get("/csv?name=a").body == "a,0\na,1\na,2\n"
