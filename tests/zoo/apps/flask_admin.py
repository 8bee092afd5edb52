"""Flask-Admin: an admin site whose own view accepts WebSockets."""

from flask import Flask
from flask_admin import Admin, BaseView, expose
from flask_babel import Babel

from flask_wshandler import (
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
    is_websocket_request,
)

PAGE = HANDLER = "/admin/live/"

sockets = WebSockets()


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


class LiveView(BaseView):
    @expose("/")
    def index(self):
        if is_websocket_request():
            return accept_websocket_request(Echo())
        return "live"


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    Babel(app)  # Flask-Admin asks for it where Flask-Babel is installed
    sockets.init_app(app)
    admin = Admin(app, name="zoo")
    admin.add_view(LiveView(name="Live", endpoint="live"))
    return app


def promise(site):
    assert site.get("/admin/").status == 200
