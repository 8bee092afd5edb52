"""Flask's SQLAlchemy pattern: declarative, with a scoped session that teardown removes."""

from flask import Flask
from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from flask_wshandler import WebSocketHandler, WebSockets

sockets = WebSockets()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
db_session = scoped_session(sessionmaker(bind=engine))


class Base(DeclarativeBase):
    query = db_session.query_property()


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[str] = mapped_column(String(50))


def save(message):
    db_session.add(Post(message=message))
    db_session.commit()
    return Post.query.order_by(Post.id.desc()).first().message


@sockets.route("/handler")
class Saving(WebSocketHandler):
    def on_message(self, message):
        self.send(save(message))


@sockets.route("/function")
def function(ws):
    while True:
        ws.send(save(ws.receive()))


def create_app():
    app = Flask(__name__)
    sockets.init_app(app)
    Base.metadata.create_all(engine)
    removed = []

    @app.teardown_appcontext
    def shutdown_session(exception=None):
        db_session.remove()
        removed.append(exception)

    @app.get("/")
    def page():
        return [post.message for post in Post.query.all()]

    @app.get("/sessions")
    def sessions():
        return {"has_one": db_session.registry.has()}

    return app


def promise(site):
    """Rows of both are seen; no session stays with a thread."""
    assert site.get("/").json() == ["hello", "hello"]
    assert site.get("/sessions").json() == {"has_one": False}
