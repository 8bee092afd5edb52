"""sentry-sdk: what callbacks and functions raise is reported, with the user whose it is."""

import sentry_sdk
from flask import Flask, request
from sentry_sdk.integrations.flask import FlaskIntegration

from flask_wshandler import WebSocketHandler, WebSockets

ALONE = True
LOGS_ERRORS = True

sockets = WebSockets()
reports = set()


def keep(event, hint):
    if "exception" in event:
        value = event["exception"]["values"][-1]["value"]
        reports.add((value, event.get("user", {}).get("id")))
    return


@sockets.route("/handler")
class Fragile(WebSocketHandler):
    def on_message(self, message):
        if message != "hello":
            raise LookupError(message)
        self.send(message)


@sockets.route("/function")
def function(ws):
    while (message := ws.receive()) == "hello":
        ws.send(message)
    raise LookupError(message)


def create_app():
    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        integrations=[FlaskIntegration()],
        before_send=keep,
        traces_sample_rate=1.0,
        before_send_transaction=lambda event, hint: None,
    )
    app = Flask(__name__)
    sockets.init_app(app)

    @app.before_request
    def note_user():
        sentry_sdk.set_user({"id": request.args.get("name")})

    app.add_url_rule("/", view_func=lambda: list(reports))
    return app


def promise(site):
    """Each fault is reported with the user whose it is."""
    expected = set()
    for path in ("/handler", "/function"):
        clients = {name: site.open(f"{path}?name={name}") for name in ("ann", "bob")}
        for name, client in clients.items():
            client.send_text(f"{path} of {name}")
            assert client.read_close()[0] == 1011
            expected.add((f"{path} of {name}", name))
    site.wait_for(lambda: len(site.get("/").json()) >= len(expected), "reports")
    assert set(map(tuple, site.get("/").json())) == expected
