"""The chat of ASP.NET's articles, line by line: a static collection, `Remove` in OnClose, an HTTP
handler that returns nothing, and the user's name by the query string or by a cookie."""

from flask import Flask, request

from flask_wshandler import HttpHandler, WebSocketCollection, WebSocketHandler, WebSockets


class ChatHandler(WebSocketHandler):
    clients = WebSocketCollection("chat")

    def on_open(self):
        self.name = self.context.query_string["chatName"]
        self.join()

    def join(self):
        self.clients.add(self)
        self.clients.broadcast(self.name + " has connected.")

    def on_message(self, message):
        self.clients.broadcast("{0} said: {1}".format(self.name, message))  # noqa: UP030, UP032

    def on_close(self):
        self.clients.remove(self)
        self.clients.broadcast(self.name + " has gone away.")


class CookieHandler(ChatHandler):
    def __init__(self, name):
        self.name = name

    def on_open(self):
        self.join()


class ChatHttpHandler(HttpHandler):
    is_reusable = False

    def process_request(self, context):
        if context.is_websocket_request:
            context.accept_websocket_request(ChatHandler())


class CookieHttpHandler(HttpHandler):
    def process_request(self, context):
        if context.is_websocket_request:
            name = context.request.cookies["UserName"]
            context.accept_websocket_request(CookieHandler(name))


def page():
    response = Flask.response_class("<title>Chat</title>")
    response.set_cookie("UserName", request.args["name"])
    return response


def create_app():
    app = Flask(__name__)
    WebSockets(app)
    app.add_url_rule("/", view_func=page)
    app.add_url_rule("/ws.ashx", view_func=ChatHttpHandler.as_view("ws"))
    app.add_url_rule("/cookie.ashx", view_func=CookieHttpHandler.as_view("cookie"))
    return app


def visit(site):
    """Both names are heard of, whoever leaves is, and the address is no page."""
    assert site.get("/?name=Bob").status == 200
    with site.open("/ws.ashx?chatName=Ann") as ann:
        assert ann.read_text() == "Ann has connected."
        with site.open("/cookie.ashx") as bob:
            assert bob.read_text() == ann.read_text() == "Bob has connected."
            bob.send_text("hello")
            assert bob.read_text() == ann.read_text() == "Bob said: hello"
            bob.leave()
        assert ann.read_text() == "Bob has gone away."
    assert site.get("/ws.ashx").status == 426
    site.cookies.clear()
    assert site.knock("/cookie.ashx").status == 400
