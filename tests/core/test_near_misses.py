"""Names that look like a callback's or a setting's and are not: whoever writes them is told."""

import subprocess
import sys
import warnings

import pytest

from flask_wshandler import HttpHandler, WebSocketCollection, WebSocketHandler

MISSES = {
    "OnMessage": "on_message",
    "OnOpen": "on_open",
    "onClose": "on_close",
    "On_Error": "on_error",
    "on_mesage": "on_message",
    "on_messages": "on_message",
    "on_connect": "on_open",
    "on_disconnect": "on_close",
    "onBinary": "on_binary",
    "CheckSession": "check_session",
    "MaxIncomingMessageSize": "max_message_size",
    "max_mesage_size": "max_message_size",
    "queuePolicy": "queue_policy",
}


@pytest.mark.parametrize("name", MISSES)
def test_a_near_miss_is_named_when_the_class_is_made(name):
    """With what is meant, at the line of the class statement."""
    with pytest.warns(UserWarning, match=rf"Chat\.{name} is never used; is {MISSES[name]} meant"):
        type("Chat", (WebSocketHandler,), {name: lambda self: None})


def test_the_other_base_classes_tell_too():
    """ASP.NET's spelling of a view class and of a collection's callback."""
    with pytest.warns(UserWarning, match=r"Ws\.ProcessRequest .* process_request meant"):
        type("Ws", (HttpHandler,), {"ProcessRequest": lambda self, context: None})
    with pytest.warns(UserWarning, match=r"Ws\.IsReusable .* is_reusable meant"):
        type("Ws", (HttpHandler,), {"IsReusable": True})
    with pytest.warns(UserWarning, match=r"Room\.onPresence .* on_presence meant"):
        type("Room", (WebSocketCollection,), {"onPresence": lambda self, joined, left: None})


@pytest.mark.parametrize(
    "name",
    ["on_move", "on_key", "on_game_over", "opened", "name", "_on_message", "send_all", "text"],
)
def test_names_of_ones_own_are_fine(name):
    """And right ones are, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        type("Chat", (WebSocketHandler,), {name: 1, "on_message": lambda self, message: None})


def test_the_warning_names_the_users_line(tmp_path):
    """Not one of the package."""
    (tmp_path / "chat.py").write_text(
        "from flask_wshandler import WebSocketHandler\n\n"
        "class Chat(WebSocketHandler):\n"
        "    def OnMessage(self, message):\n"
        "        pass\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", "import chat"], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"{tmp_path / 'chat.py'}:3: UserWarning: Chat.OnMessage is never used" in run.stderr
