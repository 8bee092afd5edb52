"""Calls of a Python program, and of its server."""

import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Protocol

import msgspec
import pytest

from flask_wshandler.calls import CallError, CallErrorCode
from flask_wshandler.client import ConnectionClosed, Gap, calls, connect
from tests.deadlines import DEADLINE_S, wait_for
from tests.resume.cutting_proxy import Cut, CuttingProxy

from .app import Board, create_app
from .serving import Caller, scripted, served


@pytest.fixture(scope="module")
def port():
    with served(create_app()) as port:
        yield port


@pytest.fixture(params=["websocket", "stream"])
def connection(request, port):
    uri = f"ws://127.0.0.1:{port}/board?name=ann"
    with connect(uri, transport=request.param) as connection:
        yield connection


@pytest.fixture
def ends():
    Board.ends.clear()
    return Board.ends


@pytest.fixture
def peer():
    with scripted() as peer:
        yield peer


def threads():
    names = ("wshandler-calls", "wshandler-call handlers")
    return [thread for thread in threading.enumerate() if thread.name in names]


@pytest.fixture(autouse=True)
def leaves_no_thread():
    yield
    wait_for(lambda: not threads())


def error_of(call):
    with pytest.raises(CallError) as caught:
        call()
    return caught.value.code, caught.value.message, caught.value.data


class Move(msgspec.Struct):
    x: int


class Contract(Protocol):
    """What the program knows of the hub."""

    def move(self, move: Move) -> int: ...

    def echo(self, value: object) -> Move: ...

    def replay(self, count: int) -> Iterator[Move]: ...

    def update(self, *numbers: int) -> None: ...


class TestOverARealHub:
    """What the program calls is called, over a WebSocket and over HTTP."""

    def test_results_and_errors(self, connection):
        """By places and by names, also by other names on the wire."""
        with calls(connection) as board:
            assert board.double(21) == 42
            assert board.add(score={"name": "ada"}, points=2) == {"name": "ada", "points": 2}
            assert board.sum(1, 2, 3) == 6
            assert error_of(board.refused) == (7, "No", {"why": "so"})
            assert error_of(board.forbidden)[:2] == (403, "Forbidden")
            assert error_of(board.fault) == (-32603, "Internal error", None)
            assert error_of(board.unmarked)[0] == CallErrorCode.METHOD_NOT_FOUND
            assert error_of(lambda: board.double("1"))[0] == CallErrorCode.INVALID_PARAMS
            with pytest.raises(TypeError, match="not both"):
                board.add(1, points=2)
            with pytest.raises(TypeError):
                board.echo(object())
            with pytest.raises(AttributeError):
                _ = board._private
            assert board.echo(None) is None

    def test_streams(self, connection, ends):
        """To the end, to an error, and left."""
        with calls(connection) as board:
            assert list(board.replay.stream(500)) == [{"x": n % 100} for n in range(500)]
            assert list(board.slow_replay.stream(2)) == [0, 1]
            items = board.fails_amid.stream(2)
            assert [next(items), next(items)] == [0, 1]
            assert error_of(lambda: next(items))[0] == CallErrorCode.INTERNAL_ERROR
            assert list(items) == []
            ends.clear()
            for item in board.replay.stream(10_000_000):
                if item["x"] == 99:
                    break
            del item
            wait_for(lambda: ends)
            assert ends == ["closed"]
            assert board.double(1) == 2

    def test_a_slow_consumer_gets_all(self, connection):
        """The server pauses: it is not asked for more than is taken, and nothing is missing."""
        with calls(connection) as board:
            expected = 0
            for item in board.replay.stream(3000):
                assert item == {"x": expected % 100}
                expected += 1
                if expected % 500 == 0:
                    board.double(1)
            assert expected == 3000

    def test_a_contract_says_the_types(self, connection):
        """What it has not can't be called, and what it says is a stream is one."""
        with calls(connection, of=Contract) as board:
            assert board.move(Move(1)) == 1
            assert board.echo({"x": 3}) == Move(3)
            assert list(board.replay(2)) == [Move(0), Move(1)]
            assert board.update(1, 2) is None
            code, _, data = error_of(lambda: board.echo("text"))
            assert code == CallErrorCode.INTERNAL_ERROR
            assert "echo has a wrong answer: Expected `object`" in data
            with pytest.raises(AttributeError, match="Contract has no double, but echo, move"):
                board.double(1)
            with pytest.raises(TypeError, match=r"Contract.move takes no str for move"):
                board.move("a")
            with pytest.raises(TypeError, match="yields nothing"):
                board.move.stream(Move(1))

    def test_the_class_itself_is_a_contract(self, connection):
        """Where the program has it."""
        with calls(connection, of=Board) as board:
            assert board.total(1, 2) == 3
            assert next(board.replay(1)).x == 0

    def test_handlers_are_called(self, connection):
        """With types, in a thread of their own, from where they can call the server."""
        heard = []

        def confirm(question: str) -> bool:
            return bool(board.double(len(question)))

        def moved(who: str, move: Move) -> None:
            heard.append((who, move, threading.current_thread().name))

        with calls(connection, {"confirm": confirm, "moved": moved}) as board:
            assert board.ask("?") is True
            assert board.ask("") is False
            board.move({"x": 5})
            wait_for(lambda: heard)
        assert heard == [("ann", Move(5), "wshandler-call handlers")]

    def test_an_object_handles_them_by_its_public_methods(self, connection):
        """Nothing else of it."""

        class Page:
            said = "no method"

            def confirm(self, question):
                return self._is_sure(question)

            def _is_sure(self, question):
                return question == "sure?"

            @property
            def other(self):
                raise AssertionError("a property was computed")

        with calls(connection, Page()) as board:
            assert board.ask("sure?") is True

    def test_many_threads_call_at_a_time(self, connection):
        """Each gets its own result."""
        with calls(connection) as board:

            def call_often(first):
                return [board.double(number) for number in range(first, first + 50)]

            callers = [Caller(functools.partial(call_often, 100 * n)) for n in range(8)]
            for number, caller in enumerate(callers):
                first = 100 * number
                assert caller.result() == [2 * n for n in range(first, first + 50)]


class TestOverALostNetwork:
    """What a connection promises, calls have."""

    def test_calls_go_on_over_cuts(self, port):
        """Each is answered once, whatever the network does."""
        plan = [(700 + 97 * number, Cut.RESET) for number in range(12)]
        with (
            CuttingProxy(port, plan) as proxy,
            connect(f"{proxy.uri}board", transport="websocket", _jitter=lambda _: 0.0) as cut,
            calls(cut) as board,
        ):
            assert [board.double(number) for number in range(60)] == [2 * n for n in range(60)]
            assert list(board.replay.stream(60)) == [{"x": number} for number in range(60)]
            assert len(proxy.cuts) == 12

    def test_another_handler_ends_what_is_under_way(self):
        """-32001; what is called later is another matter."""
        gaps = []
        with scripted(on_gap=gaps.append) as peer, calls(peer.connection) as board:
            caller = Caller(lambda: board.move(1))
            items = board.replay.stream(1)
            heard = {peer.hear()["method"] for _ in range(2)}
            assert heard == {"move", "replay"}
            peer.restart()
            assert error_of(caller.result)[0] == CallErrorCode.CONNECTION_LOST
            assert error_of(lambda: next(items))[0] == CallErrorCode.CONNECTION_LOST
            caller = Caller(lambda: board.move(2))
            while (request := peer.hear())["params"] != [2]:
                pass  # what was not acknowledged is sent again
            peer.say(id=request["id"], result=3)
            assert caller.result() == 3
            wait_for(lambda: gaps)
            assert gaps == [Gap.MESSAGES]

    def test_an_answer_to_a_handler_that_is_gone_is_not_given_to_the_next(self):
        """Their ids are the same."""
        may_end, has_begun = threading.Event(), threading.Event()

        def confirm():
            has_begun.set()
            may_end.wait(DEADLINE_S)

        with scripted() as peer, calls(peer.connection, {"confirm": confirm, "f": int}) as board:
            peer.say(id=1, method="confirm")
            assert has_begun.wait(DEADLINE_S)
            peer.restart()
            peer.say(id=2, method="f")
            wait_for(lambda: peer.connection.gaps)

            def is_answered():
                # One that is made before the gap is come to ends with it.
                caller = Caller(board.move)
                heard = peer.hear()
                assert heard["method"] == "move"
                peer.say(id=heard["id"], result=None)
                try:
                    caller.result()
                except CallError as error:
                    assert error.code == CallErrorCode.CONNECTION_LOST
                    return False
                return True

            wait_for(is_answered)
            may_end.set()
            assert peer.hear() == {"jsonrpc": "2.0", "id": 2, "result": 0}

    def test_the_end_of_the_connection_ends_them(self, peer):
        """-32001, with the close as its cause."""
        with calls(peer.connection) as board:
            caller = Caller(lambda: board.move(1))
            peer.hear()
            peer.session().websocket.close(4403, "enough")
            code, _, data = error_of(caller.result)
            assert (code, data) == (-32001, "the connection is closed: 4403 enough")
            with pytest.raises(CallError) as later:
                board.move(2)
            assert later.value.code == CallErrorCode.CONNECTION_LOST
            assert isinstance(later.value.__cause__, ConnectionClosed)
            assert error_of(lambda: board.move.notify(1))[0] == CallErrorCode.CONNECTION_LOST

    def test_the_end_of_the_block_ends_them_and_not_the_connection(self, peer):
        """It can be received from again, and have other calls."""
        with calls(peer.connection) as board:
            caller = Caller(lambda: board.move(1))
            peer.hear()
        assert error_of(caller.result)[0] == CallErrorCode.CONNECTION_LOST
        assert error_of(lambda: board.move(2))[0] == CallErrorCode.CONNECTION_LOST
        peer.say("hello")
        assert peer.connection.recv(DEADLINE_S) == "hello"
        with calls(peer.connection) as board:
            caller = Caller(lambda: board.move(1))
            peer.say(id=peer.hear()["id"], result=5)
            assert caller.result() == 5


class TestAServerThatDoesNotDoItsPart:
    """A call ends; nothing else happens to the program."""

    def test_it_never_answers(self, peer):
        """-32002, and it is told."""
        with calls(peer.connection, timeout=0.05) as board:
            code, message, data = error_of(lambda: board.move(1))
            assert (code, message) == (-32002, "Timed out")
            assert data == "move has said nothing for 0.05 s"
            assert peer.hear()["method"] == "move"
            assert peer.hear() == {"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": 1}}
            items = board.replay.stream()
            assert error_of(lambda: next(items))[0] == CallErrorCode.TIMED_OUT
            assert list(items) == []
            assert [peer.hear()["method"] for _ in range(2)] == ["replay", "$/cancel"]
            peer.say(id=1, result="late")

    @pytest.mark.parametrize(
        "wrong",
        [
            '{"jsonrpc":"2.0","id":1}',
            '{"jsonrpc":"2.0","id":1,"result":{"a":1},"error":{}}',
            '{"jsonrpc":"2.0","id":1,"error":{"message":"no code"}}',
            '{"jsonrpc":"2.0","id":1,"error":"text"}',
            '{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"y"}}',
            '{"jsonrpc":"2.0","id":1,"error":null}',
            '{"jsonrpc":"1.0","id":1,"result":1}',
            '{"id":1,"result":1}',
        ],
    )
    def test_a_wrong_answer_is_an_error(self, peer, wrong):
        """-32603, at once, and says what is wrong."""
        with calls(peer.connection) as board:
            caller = Caller(lambda: board.move(1))
            peer.hear()
            peer.say(wrong)
            code, _, data = error_of(caller.result)
            assert code == CallErrorCode.INTERNAL_ERROR
            assert data.startswith("move has a wrong answer: ")

    def test_what_nobody_has_asked_for_is_dropped(self, peer):
        """Unknown ids, answers that come twice, items of no stream, and what is no JSON-RPC."""
        with calls(peer.connection) as board:
            for id in (0, -1, 7, 2**53, 1.0, "1", None, True, [1]):
                peer.say(id=id, result=1)
                peer.say(id=id, error={"code": 1, "message": "m"})
                peer.item(1, id=id)
                peer.say(method="$/cancel", params={"id": id})
            for text in ("", "{", "[]", "[1]", "null", "1", "\x00", "[" * 5000, '{"a":1}'):
                peer.say(text)
            peer.say(method="$/item")
            peer.say(method="$/item", params=[1])
            peer.say(method="$/unknown", params=[1])
            peer.say(method="unknown", params=[1])
            caller = Caller(lambda: board.move(1))
            number = peer.hear()["id"]
            for result in (1, 2, 2):
                peer.say(id=number, result=result)
            assert caller.result() == 1
            caller = Caller(lambda: board.move(2))
            peer.say(f'[{{"jsonrpc":"2.0","id":{peer.hear()["id"]},"result":4}}]')
            assert caller.result() == 4

    def test_items_where_one_result_is_waited_for(self, peer):
        """TypeError, that says what to do; the call is cancelled."""
        with calls(peer.connection) as board:
            caller = Caller(lambda: board.replay(7))
            peer.hear()
            peer.item(1)
            with pytest.raises(TypeError, match=r"iterate over replay.stream"):
                caller.result()
            assert peer.hear()["method"] == "$/cancel"

    def test_it_is_told_to_pause_and_to_go_on(self, peer):
        """Above 64 items that wait, and at 32."""
        with calls(peer.connection) as board:
            items = board.replay.stream()
            peer.hear()
            for number in range(65):
                peer.item(number)
            assert peer.hear()["method"] == "$/pause"
            assert [next(items) for _ in range(32)] == list(range(32))
            caller = Caller(board.move)
            request = peer.hear()
            assert request["method"] == "move"
            peer.say(id=request["id"], result=0)
            caller.result()
            assert next(items) == 32
            assert peer.hear() == {"jsonrpc": "2.0", "method": "$/resume", "params": {"id": 1}}
            peer.say(id=1, result=None)
            assert list(items) == list(range(33, 65))

    def test_it_does_not_pause(self, peer):
        """16 MiB wait at most; then the call has ended, after what has come."""
        large = "x" * 500_000
        with calls(peer.connection) as board:
            items = board.replay.stream()
            peer.hear()
            for _ in range(40):
                peer.item(large)
            wait_for(lambda: items._stream.is_over)
            code, _, data = error_of(lambda: list(items))
            assert code == CallErrorCode.TOO_MANY_CALLS
            assert "was told to pause" in data

    def test_it_calls_what_there_is_not(self, peer):
        """It is told so."""
        with calls(peer.connection, {"f": lambda x: x}):
            peer.say(id="a", method="g", params=[1])
            assert peer.hear()["error"]["code"] == CallErrorCode.METHOD_NOT_FOUND
            peer.say(id="b", method="f", params=[1, 2])
            assert peer.hear()["error"]["code"] == CallErrorCode.INVALID_PARAMS
            peer.say(id="c", method="f", params={"x": 5})
            assert peer.hear() == {"jsonrpc": "2.0", "id": "c", "result": 5}

    def test_it_calls_more_than_a_handler_waits_for(self, peer):
        """What a handler calls then can't be answered, and is not waited for; all are called."""
        errors = []
        may_call = threading.Event()

        def handle(number):
            if number == 0:
                may_call.wait(DEADLINE_S)
                errors.append(error_of(board.move)[0])
            return number

        with calls(peer.connection, {"handle": handle}, timeout=None) as board:
            for number in range(400):
                peer.say(id=number, method="handle", params=[number])
            wait_for(lambda: board._caller._reader.handlers_thread.is_full)
            may_call.set()
            answers = [peer.hear() for _ in range(400)]
        assert errors == [CallErrorCode.TOO_MANY_CALLS]
        assert [answer["result"] for answer in answers if "result" in answer] == list(range(400))


class TestHandlers:
    """What a program does with the server's calls."""

    def test_errors_are_answered(self, peer, caplog):
        """`CallError` as it is; what else is raised, or can't be written, is logged."""

        def refuse():
            raise CallError(5, "never", [1])

        def fail():
            raise LookupError("a secret")

        with calls(peer.connection, {"refuse": refuse, "fail": fail, "object": object}):
            for method, expected in (
                ("refuse", {"code": 5, "message": "never", "data": [1]}),
                ("fail", {"code": -32603, "message": "Internal error"}),
                ("object", {"code": -32603, "message": "Internal error"}),
            ):
                peer.say(id=1, method=method)
                assert peer.hear() == {"jsonrpc": "2.0", "id": 1, "error": expected}
            wait_for(lambda: len(caplog.records) == 2)
        assert "a secret" in caplog.text

    def test_a_call_that_the_server_cancels(self, peer):
        """-32800, and what waits is not called."""
        called = []
        may_end = threading.Event()

        def wait(number):
            called.append(number)
            return may_end.wait(DEADLINE_S)

        with calls(peer.connection, {"wait": wait}) as board:
            peer.say(id=1, method="wait", params=[1])
            wait_for(lambda: called)
            peer.say(id=2, method="wait", params=[2])
            peer.say(method="$/cancel", params={"id": 1})
            peer.say(method="$/cancel", params={"id": 2})
            caller = Caller(board.move)
            peer.say(id=peer.hear()["id"], result=None)
            caller.result()  # so all before it has been read
            may_end.set()
            codes = [peer.hear()["error"]["code"] for _ in range(2)]
        assert codes == [CallErrorCode.CANCELLED] * 2
        assert called == [1]

    def test_other_messages_are_given_to_on_message(self, peer):
        """In their order among the calls."""
        heard = []
        with calls(peer.connection, {"f": heard.append}, on_message=heard.append):
            peer.say("text")
            peer.say(method="f", params=["called"])
            peer.session().send(b"binary")
            peer.say('{"a": 1}')
            wait_for(lambda: len(heard) == 4)
        assert heard == ["text", "called", b"binary", '{"a": 1}']

    @pytest.mark.parametrize(
        ("handlers", "reason"),
        [
            ({"f": 1}, "functions by their names"),
            ({1: print}, "functions by their names"),
            ({"f": lambda **k: k}, r"has \*\*arguments"),
        ],
    )
    def test_what_can_t_be_called(self, peer, handlers, reason):
        """TypeError, before anything is received."""
        with pytest.raises(TypeError, match=reason):
            calls(peer.connection, handlers)

    def test_asynchronous_ones_are_refused(self, peer):
        """Nobody would run them."""

        async def later():
            pass

        with pytest.raises(TypeError, match="plain function"):
            calls(peer.connection, {"f": later})


def test_something_else_than_a_contract(peer):
    """TypeError."""
    with pytest.raises(TypeError, match="a contract is a class, not 1"):
        calls(peer.connection, of=1)


def test_something_else_than_a_connection():
    """TypeError."""
    with pytest.raises(TypeError, match=r"a connection of flask_wshandler.client.connect"):
        calls("ws://127.0.0.1")


def test_without_msgspec_there_is_the_client():
    """And what to install for calls is said."""
    program = """
import sys
sys.modules["msgspec"] = None
from flask_wshandler.client import calls, connect
try:
    calls(None)
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "pip install flask-wshandler[calls]" in done.stdout, done.stderr
