"""Flask's deferred request callbacks: `after_this_request`, in views and in callbacks."""

from flask import Flask, after_this_request, request

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
called = []


def remember(response):
    called.append(request.path)
    response.set_cookie("user_lang", "de")
    return response


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_message(self, message):
        after_this_request(remember)  # there is no response any more
        self.send(message)


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(ws.receive())


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)

    @app.before_request
    def detect_user_language():
        if request.cookies.get("user_lang") is None:
            after_this_request(remember)

    app.add_url_rule("/", "page", lambda: called)
    return app


def promise(site):
    """The cookie is on the 101, too."""
    site.cookies.clear()
    assert site.open("/handler").header("Set-Cookie") == "user_lang=de; Path=/"
    assert site.get("/").json() == ["/", "/handler"]
