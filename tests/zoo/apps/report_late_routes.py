"""flask-sock 28: views that are imported at the end of the factory, after `init_app`."""

from flask import Blueprint, Flask

from flask_wshandler import WebSocketHandler, WebSockets

HANDLER, FUNCTION = "/api/handler", "/function"

sockets = WebSockets()
api = Blueprint("api", __name__, url_prefix="/api")


def declare_views():
    """What `from .views import default` does there."""

    @sockets.route("/function")
    def function(ws):
        while True:
            ws.send(ws.receive())

    @sockets.route("/handler", bp=api)
    class Echo(WebSocketHandler):
        def on_message(self, message):
            self.send(message)


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    app.add_url_rule("/", "page", lambda: "page")
    declare_views()
    app.register_blueprint(api)
    return app
