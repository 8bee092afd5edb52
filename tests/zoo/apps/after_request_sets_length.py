"""An `after_request` that sets Content-Length and the body anew, as minifiers do."""

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
    def minify(response):
        response.set_data(response.get_data(as_text=True).strip())
        response.headers["Content-Length"] = str(len(response.get_data()))
        return response

    app.add_url_rule("/", "page", lambda: "  page  ")
    return app


def promise(site):
    assert site.get("/").body == "page"
