"""An app that fails in every way that is logged, and has its log lines written down."""

import json
import logging
import os
import time

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request
from flask_wshandler.handlers.signals import message_received
from tests.notes import note

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
for key, value in os.environ.items():
    if key.startswith("WSHANDLER_"):
        app.config[key] = json.loads(value)
sockets = WebSockets(app)


class Noting(logging.Handler):
    def emit(self, record):
        note("line", id=record.name, message=record.getMessage())


for logger in (app.logger, logging.getLogger("flask_wshandler")):
    logger.addHandler(Noting())
    logger.setLevel(logging.INFO)


@app.after_request
def replace(response):
    return Response("replaced", 418) if request.args.get("replace") else response


@sockets.route("/handler/<rest>")
class Fails(WebSocketHandler):
    def __init__(self, rest):
        pass

    def on_text(self, message):
        if message == "sleep":
            time.sleep(0.5)
        raise ValueError("as it was told")


@sockets.route("/function/<rest>")
def function(ws, rest):
    ws.receive()
    raise ValueError("as it was told")


class SlowLambda(WebSocketHandler):
    def __init__(self):
        self.on_text = lambda message: time.sleep(0.5)


class SlowCheck(WebSocketHandler):
    recheck_session_s = 0.1

    def check_session(self):
        time.sleep(0.5)
        return True


@app.get("/slow/<kind>")
def slow(kind):
    return accept_websocket_request(SlowLambda() if kind == "lambda" else SlowCheck())


@message_received.connect_via(app)
def receive(sender, handler, message):
    if message == "slow receiver":
        time.sleep(0.5)


@app.get("/subprotocol")
def subprotocol():
    try:
        return accept_websocket_request(WebSocketHandler(), subprotocol=request.args["name"])
    except ValueError as error:
        app.logger.warning("%s", error)
        return "not offered", 400
