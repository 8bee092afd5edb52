"""The app that is behind proxies: the page of these tests, and what its connection talks to."""

import json
import os
from pathlib import Path

from flask import Flask, redirect, send_from_directory, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets
from tests.notes import note

app = Flask(__name__)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)
sockets = WebSockets(app)
clients = WebSocketCollection("clients")


@app.get("/client.js")
def client():
    return redirect(url_for("wshandler.static", filename="client.js"))


@app.get("/<any('page.html', 'page.js'):name>")
def page(name):
    return send_from_directory(Path(__file__).parent / "pages", name)


@app.get("/all/<message>")
def tell_all(message):
    clients.broadcast(message)
    return "told"


@sockets.route("/ws")
class Echo(WebSocketHandler):
    def on_open(self):
        clients.add(self)

    def on_message(self, message):
        verb, _, rest = str(message).partition(" ")
        if verb == "close":
            self.close(3002, rest)
        elif verb == "count":
            for number in range(int(rest)):
                self.send(str(number))
        else:
            self.send(message)

    def on_close(self):
        note("close", code=self.close_code, reason=self.close_reason)
