"""Flask's tutorial: an application factory, extensions without an app, a test configuration."""

import os

from flask import Blueprint, Flask, current_app

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

sockets = WebSockets()
blog = Blueprint("blog", __name__, url_prefix="/blog")
PAGE, HANDLER, FUNCTION = "/blog/", "/blog/handler", "/blog/function"
ANSWER = "hello dev"


class Named(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {current_app.config['SECRET_KEY']}")


@blog.route("/")
def index():
    return current_app.name


@blog.route("/handler")
def handler():
    return accept_websocket_request(Named())


@sockets.route("/function", blog)
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {current_app.config['SECRET_KEY']}")


def create_app(test_config=None):
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY="dev", DATABASE=os.path.join(app.instance_path, "zoo.sqlite")
    )
    if test_config is None:
        app.config.from_pyfile("config.py", silent=True)
    else:
        app.config.from_mapping(test_config)
    sockets.init_app(app)
    app.register_blueprint(blog)
    app.add_url_rule("/", endpoint="index")
    return app
