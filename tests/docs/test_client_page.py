"""The program of docs/reference/client.md, against a server that is cut while it runs."""

import threading
from pathlib import Path

from tests.calls.app import create_app
from tests.calls.serving import served
from tests.deadlines import DEADLINE_S
from tests.resume.server import ResumableServer

from .markdown_page import MarkdownPage

PAGE = MarkdownPage(Path(__file__).resolve().parents[2] / "docs" / "reference" / "client.md")


def test_the_program_goes_on_over_a_cut(capsys):
    """It prints what is sent before and after, and ends with the server's 1000."""
    [program] = PAGE.code("A program", "python")
    with ResumableServer() as server:
        program = program.replace("wss://chat.example.org/", server.uri)
        thread = threading.Thread(target=exec, args=(program, {}))
        thread.start()
        session = server.session()
        assert session.wait_taken(1) == ["hello"]
        session.send("one")
        server.cut(session)
        session.send("two")
        server.wait_back(session, 1)
        session.websocket.close(1000)
        thread.join(DEADLINE_S)
    assert capsys.readouterr().out == "one\ntwo\n"


def test_the_program_with_gaps_tells_them_apart(capsys):
    """One for the handler that is gone, one for what is not in the history."""
    [program] = PAGE.code("Gaps", "python")
    with ResumableServer() as server:
        program = program.replace("wss://chat.example.org/", server.uri)
        thread = threading.Thread(target=exec, args=(program, {}))
        thread.start()
        session = server.session()
        server.forget()
        server.cut(session)
        session = server.session(1)
        session.miss("0a1b2c3d4e5f.5")
        session.send("and on")
        session.websocket.close(1000)
        thread.join(DEADLINE_S)
    assert capsys.readouterr().out.splitlines() == [
        "the server has crashed: what it was about to say is gone",
        "away for too long: the history does not reach back so far",
        "and on",
    ]


def test_the_program_with_calls(capsys):
    """It prints what it is told, and what is refused."""
    [program, _] = PAGE.code("Calls", "python")
    with served(create_app()) as port:
        exec(program.replace("wss://game.example.org", f"ws://127.0.0.1:{port}"), {})
    printed = capsys.readouterr().out.splitlines()
    printed.remove("robot has moved to 1")  # by another thread
    assert printed == [
        "1",
        *(str({"x": number}) for number in range(7)),
        "-32602 Expected `int` <= 99 - at `move.x`",
    ]
