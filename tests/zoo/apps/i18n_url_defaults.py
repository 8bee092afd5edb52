"""Flask's URL processors for i18n: the language goes from the URL to `g`, and back by url_for."""

from flask import Flask, g, url_for

from flask_wshandler import WebSocketHandler, WebSockets

PAGE, HANDLER, FUNCTION = "/de/about", "/de/handler", "/de/function"
ANSWER = "hello /de/about"

sockets = WebSockets()


@sockets.route("/<lang_code>/handler")
class Linking(WebSocketHandler):
    def on_message(self, message):
        self.send(f"{message} {url_for('about')}")


@sockets.route("/<lang_code>/function")
def function(ws):
    while True:
        ws.send(f"{ws.receive()} {url_for('about')}")


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.url_defaults
    def add_language_code(endpoint, values):
        if "lang_code" in values or not g.lang_code:
            return
        if app.url_map.is_endpoint_expecting(endpoint, "lang_code"):
            values["lang_code"] = g.lang_code

    @app.url_value_preprocessor
    def pull_lang_code(endpoint, values):
        g.lang_code = values.pop("lang_code", None) if values else None

    @app.get("/<lang_code>/about")
    def about():
        return url_for("about")

    return app
