"""calls.js in a page, with a server whose part the test plays."""

import json

import pytest

OPEN = """async () => {
  const { calls, CallError } = await import("./calls.js");
  globalThis.outcomes = [];
  globalThis.note = (promise) => void promise.then(
    (result) => outcomes.push(result),
    ({ code, message }) => outcomes.push([code, message]),
  );
  const handlers = {
    double: (number) => 2 * number,
    refuse: () => { throw new CallError(7, "No", { why: "so" }); },
    number: 5,
  };
  globalThis.board = calls(page.connection, handlers);
}"""


@pytest.fixture
def connection(page):
    """Of a page that can call and be called."""
    connection = page.connect()
    page.run(OPEN)
    return connection


def say(connection, **message):
    connection.send("m" + json.dumps({"jsonrpc": "2.0"} | message))


def heard(connection):
    """The next message of JSON-RPC; acknowledgements are not."""
    while not (message := connection.receive()).startswith("m"):
        pass
    return json.loads(message[1:])


def outcomes_of(page, count):
    page.wait_until(lambda: len(page.run("outcomes")) >= count)
    return page.run("outcomes")


def test_an_answer_is_the_promise_s(page, connection):
    """The first one is; what answers nothing, or is no JSON-RPC, is left alone."""
    page.run("note(board.move({ x: 1 }))")
    asked = heard(connection)
    assert asked == {"jsonrpc": "2.0", "id": 1, "method": "move", "params": [{"x": 1}]}
    for message in ("m", "mnull", "m[1]", "m{", 'm"text"', "m5"):
        connection.send(message)
    say(connection, id=99, result=0)
    say(connection, method="$/item", params={"id": 99, "value": 0})
    say(connection, method="$/item")
    say(connection, id=1, result=3)
    say(connection, id=1, result=4)
    assert outcomes_of(page, 1) == [3]


def test_an_error_rejects(page, connection):
    """With its code and message."""
    page.run("note(board.move())")
    heard(connection)
    say(connection, id=1, error={"code": 7, "message": "No"})
    assert outcomes_of(page, 1) == [[7, "No"]]


def test_a_call_that_takes_too_long_is_cancelled(page, connection):
    """After the time that was given."""
    page.run("note(board.move())")
    heard(connection)
    for _ in range(3):
        connection.send("p")
        page.passes_s(10.1)
    assert outcomes_of(page, 1) == [[-32002, "Timed out"]]


def test_a_stream_that_is_left_is_cancelled(page, connection):
    """What has come before the iteration is not lost."""
    page.run("""() => {
      const stream = board.replay();
      globalThis.iterate = async () => {
        for await (const item of stream) { outcomes.push(item); if (item === 2) break; }
      };
    }""")
    heard(connection)
    for value in (1, 2, 3):
        say(connection, method="$/item", params={"id": 1, "value": value})
    page.wait_until(lambda: len(page.taken) == 3)
    page.run("void iterate()")
    assert heard(connection)["method"] == "$/cancel"
    assert page.run("outcomes") == [1, 2]


@pytest.mark.parametrize("name", ["none", "number", "constructor", "toString", "__proto__"])
def test_only_the_page_s_own_functions_can_be_called(page, connection, name):
    """Others are not found."""
    say(connection, id="a", method=name)
    assert heard(connection)["error"]["code"] == -32601


def test_the_server_s_calls_are_answered(page, connection):
    """With a result, or a CallError as it is."""
    say(connection, id=1, method="double", params=[4])
    assert heard(connection) == {"jsonrpc": "2.0", "id": 1, "result": 8}
    say(connection, id=2, method="refuse")
    assert heard(connection)["error"] == {"code": 7, "message": "No", "data": {"why": "so"}}


def test_the_end_of_the_connection_is_that_of_its_calls(page, connection):
    """And later ones are refused at once."""
    page.run("note(board.move())")
    heard(connection)
    page.close()
    page.run("note(board.move())")
    assert outcomes_of(page, 2) == [[-32001, "Connection lost"]] * 2
