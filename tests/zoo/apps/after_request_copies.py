"""An `after_request` that answers with a new response, made of the old one's parts."""

from flask import Flask, Response

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

    @app.after_request
    def copy(response):
        return Response(response.get_data(), response.status, response.headers)

    app.add_url_rule("/", "page", lambda: "page")
    return app
