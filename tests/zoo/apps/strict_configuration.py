"""Flask's stricter configuration: exceptions that propagate, trusted hosts, limits, a root."""

from flask import Flask, request, session, url_for

from flask_wshandler import WebSocketHandler, WebSockets

ANSWER = "hello /static/x ann"

sockets = WebSockets()


def answer(message):
    return f"{message} {url_for('static', filename='x')} {session['name']}"


@sockets.route("/handler")
class Answering(WebSocketHandler):
    def on_message(self, message):
        self.send(answer(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(answer(ws.receive()))


def create_app():
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="new",
        SECRET_KEY_FALLBACKS=["old"],
        PROPAGATE_EXCEPTIONS=True,
        TRUSTED_HOSTS=["strict-configuration.zoo"],
        MAX_CONTENT_LENGTH=10,
        SESSION_COOKIE_NAME="zoo",
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_REFRESH_EACH_REQUEST=True,
        PREFERRED_URL_SCHEME="https",
    )
    sockets.init_app(app)

    @app.before_request
    def remember():
        session.permanent = True
        session["name"] = "ann"
        return None if request.path else ""

    app.add_url_rule("/", "page", lambda: "page")
    return app


def promise(site):
    """Refusals are answers, whatever propagates; the 101 refreshes the session's cookie."""
    assert site.knock("/handler", {"Origin": "http://elsewhere.example"}).status == 403
    assert site.get("/handler").status == 426
    assert "SameSite=Strict" in site.open("/handler").header("Set-Cookie")
