"""`after_request` functions that set Connection or clear what they do not know."""

from flask import Flask

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
    def only_ours(response):
        response.headers.clear()
        response.headers["Connection"] = "close"
        response.headers["X-Ours"] = "yes"
        return response

    app.add_url_rule("/", "page", lambda: "page")
    return app
