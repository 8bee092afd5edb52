"""Flask's signals: everything has receivers, and callbacks render templates."""

from flask import (
    Flask,
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    before_render_template,
    message_flashed,
    render_template_string,
    request,
    request_finished,
    request_started,
    request_tearing_down,
    template_rendered,
)

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello from template"

sockets = WebSockets()
seen = []
SIGNALS = (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    before_render_template,
    message_flashed,
    request_finished,
    request_started,
    request_tearing_down,
    template_rendered,
)


def note(sender, **values):
    if "response" in values:
        seen.append(values["response"].status_code)
    if "template" in values:
        seen.append(request.path)


@sockets.route("/handler")
class Rendered(WebSocketHandler):
    def on_message(self, message):
        self.send(render_template_string("{{ message }} from template", message=message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(render_template_string("{{ message }} from template", message=ws.receive()))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    for signal in SIGNALS:
        signal.connect(note, app)
    app.add_url_rule("/", view_func=lambda: seen)
    return app


def promise(site):
    """Both handshakes finished with 101, and both rendered; before_… and …_rendered are two."""
    seen = site.get("/").json()
    assert seen.count(101) == 2
    assert seen.count("/handler") == seen.count("/function") == 2
