"""Flask-SQLAlchemy with a pool of one: whoever keeps a connection checked out starves the rest."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
db = SQLAlchemy()


def echo(message):
    return db.session.execute(text("SELECT :message"), {"message": message}).scalar()


@sockets.route("/handler")
class Echo(WebSocketHandler):
    def on_open(self):
        echo("open")

    def on_message(self, message):
        self.send(echo(message))


@sockets.route("/function")
def function(ws):
    while True:
        message = ws.receive()
        with db.session():
            ws.send(echo(message))


def create_app():
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite:///pool.db",
        SQLALCHEMY_ENGINE_OPTIONS={
            "poolclass": QueuePool,
            "pool_size": 1,
            "max_overflow": 0,
            "pool_timeout": 5,
        },
    )
    db.init_app(app)
    sockets.init_app(app)
    app.add_url_rule("/", view_func=lambda: echo("page"))
    return app


def promise(site):
    """Three open handlers, and there is still a connection for the page."""
    clients = [site.open("/handler") for _ in range(3)]
    for client in clients:
        client.send_text("hello")
        assert client.read_text() == "hello"
    assert site.get("/").body == "page"
