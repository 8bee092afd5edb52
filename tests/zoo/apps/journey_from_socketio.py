"""A Flask-SocketIO app that was moved: events by name, rooms, a namespace, the session, a token for
`connect`, acknowledgements, a background thread that emits."""

import threading

from flask import Flask, abort, current_app, request, session

from flask_wshandler import (
    WebSocketCollection,
    WebSocketGroups,
    WebSocketHandler,
    WebSockets,
    accept_websocket_request,
)

sockets = WebSockets()
everybody = WebSocketCollection("chat")  # the namespace /chat
rooms = WebSocketGroups("chat-room")


class Chat(WebSocketHandler):
    def __init__(self, name):
        self.name = name
        self.said = 0

    def on_open(self):  # connect
        everybody.add(self)
        self.emit("welcome", self.name)

    def on_text(self, text):
        message = current_app.json.loads(text)
        answer = EVENTS[message["event"]](self, message["data"])
        if "number" in message:  # an acknowledgement
            self.send_json({"answer": message["number"], "data": answer})

    def emit(self, event, data):
        self.send_json({"event": event, "data": data})

    def join(self, room):
        rooms[room].add(self)
        rooms[room].broadcast_json({"event": "joined", "data": self.name})

    def leave(self, room):
        rooms[room].remove(self)
        rooms[room].broadcast_json({"event": "left", "data": self.name})

    def say(self, data):
        self.said += 1
        event = {"event": "said", "data": data["text"]}
        rooms[data["room"]].broadcast_json(event, exclude=self)
        return self.said

    def quit(self, data):
        self.close(4000, data)  # disconnect()

    def on_close(self):  # disconnect
        everybody.broadcast_json({"event": "gone", "data": self.name})


EVENTS = {"join": Chat.join, "leave": Chat.leave, "say": Chat.say, "quit": Chat.quit}


def chat():
    if request.args.get("token") != "sesame":
        abort(401)  # ConnectionRefusedError
    return accept_websocket_request(Chat(session["name"]))


def page():
    session["name"] = request.args.get("name", "nobody")
    return "<title>Chat</title>"


def tick(app):
    with app.app_context():  # there are other apps in this process
        everybody.broadcast_json({"event": "tick", "data": 1})


def background():
    thread = threading.Thread(target=tick, args=[current_app._get_current_object()])
    thread.start()
    thread.join()
    return "", 204


def create_app():
    app = Flask(__name__)
    app.secret_key = "zoo"
    sockets.init_app(app)
    app.add_url_rule("/", view_func=page)
    app.add_url_rule("/chat", view_func=chat)
    app.add_url_rule("/background", view_func=background, methods=["POST"])
    return app


def visit(site):
    """What each of the two is sent, in its order."""
    site.get("/?name=ann")
    assert site.knock("/chat?token=wrong").status == 401
    ann = site.open("/chat?token=sesame")
    site.get("/?name=bob")
    bob = site.open("/chat?token=sesame")
    assert ann.read_text() == '{"data": "ann", "event": "welcome"}'
    assert bob.read_text() == '{"data": "bob", "event": "welcome"}'
    ann.send_text('{"event": "join", "data": "lobby"}')
    assert "joined" in ann.read_text()
    bob.send_text('{"event": "join", "data": "lobby"}')
    assert ann.read_text() == bob.read_text() == '{"data": "bob", "event": "joined"}'
    ann.send_text('{"event": "say", "data": {"room": "lobby", "text": "hi"}, "number": 7}')
    assert ann.read_text() == '{"answer": 7, "data": 1}'
    assert bob.read_text() == '{"data": "hi", "event": "said"}'
    bob.send_text('{"event": "leave", "data": "lobby"}')
    assert ann.read_text() == '{"data": "bob", "event": "left"}'
    site.post("/background")
    assert ann.read_text() == bob.read_text() == '{"data": 1, "event": "tick"}'
    bob.send_text('{"event": "quit", "data": "bye"}')
    assert bob.read_close() == (4000, "bye")
    bob.end()
    assert ann.read_text() == '{"data": "bob", "event": "gone"}'
