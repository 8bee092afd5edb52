"""Flask-SQLAlchemy: rows written by callbacks and functions, every connection checked in again."""

from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
db = SQLAlchemy()


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String, nullable=False)
    visits = db.Column(db.Integer, default=0)


class Post(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    message = db.Column(db.String, nullable=False)


def save(message):
    db.session.add(Post(message=message))
    db.session.commit()
    return message


@sockets.route("/handler")
class Saving(WebSocketHandler):
    def on_message(self, message):
        self.send(save(message))


@sockets.route("/function")
def function(ws):
    while True:
        message = save(ws.receive())
        ws.send(message if g.user.name == "ann" else g.user.name)


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(app)
    sockets.init_app(app)
    with app.app_context():
        db.create_all()
        db.session.add(User(name="ann"))
        db.session.commit()

    @app.before_request
    def load_user():
        g.user = db.session.get(User, 1)
        g.user.visits += 1
        db.session.commit()

    @app.get("/")
    def page():
        return [post.message for post in Post.query.all()]

    return app


def promise(site):
    assert site.get("/").json() == ["hello", "hello"]
