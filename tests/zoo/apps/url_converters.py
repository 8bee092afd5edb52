"""Converters whose values are objects, to a handler, a function, and back by url_for."""

from dataclasses import dataclass

from flask import Flask, request, url_for
from werkzeug.routing import BaseConverter

from flask_wshandler import WebSocketHandler, WebSockets

PAGE, HANDLER, FUNCTION = "/a+b/", "/a+b/handler", "/a+b/function"
ANSWER = "hello ('a', 'b') /b+a/"

sockets = WebSockets()


@dataclass(frozen=True)
class Tags:
    names: tuple


class TagsConverter(BaseConverter):
    regex = r"[a-z+]+"

    def to_python(self, value):
        return Tags(tuple(value.split("+")))

    def to_url(self, value):
        return "+".join(value.names)


def answer(message, tags):
    assert request.view_args == {"tags": tags}
    return f"{message} {tags.names} {url_for('page', tags=Tags(tags.names[::-1]))}"


@sockets.route("/<tags:tags>/handler")
class Tagged(WebSocketHandler):
    def __init__(self, tags):
        self.tags = tags

    def on_message(self, message):
        self.send(answer(message, self.tags))


@sockets.route("/<tags:tags>/function")
def function(ws, tags):
    while True:
        ws.send(answer(ws.receive(), tags))


def create_app():
    app = Flask(__name__)
    app.url_map.converters["tags"] = TagsConverter
    sockets.init_app(app)
    app.add_url_rule("/<tags:tags>/", "page", lambda tags: "".join(tags.names))
    return app
