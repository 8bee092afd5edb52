"""The pytest plugin, in projects of its own."""

import weakref

import pytest

from flask_wshandler.collections import current

pytest_plugins = "pytester"

APP = """
import pytest
from flask import Flask
from flask_wshandler import WebSocketCollection, WebSocketHandler, WebSockets

clients = WebSocketCollection("chat")

class Chat(WebSocketHandler):
    def on_open(self):
        clients.add(self)
    def on_message(self, message):
        if message == "boom":
            raise LookupError("in on_message")
        clients.broadcast(message)

def create_app():
    app = Flask(__name__)
    app.testing = True
    WebSockets(app).route("/chat")(Chat)
    return app
"""

CONFTEST = """
import pytest
from chat import create_app

@pytest.fixture{scope}
def app():
    yield create_app()

@pytest.fixture
def client(app):
    return app.test_client()
"""

THREADS = """
import threading

before = set(threading.enumerate())

def no_threads():
    new = set(threading.enumerate()) - before
    return not [each for each in new if each.name.startswith("wshandler")]
"""


@pytest.fixture(params=["", "(scope='session')"], ids=["app per test", "one app"])
def project(request, pytester):
    """A project as Flask's documentation has it."""
    pytester.makepyfile(chat=APP, threads=THREADS)
    pytester.makeconftest(CONFTEST.format(scope=request.param))
    return pytester


def run(pytester):
    """In this process, with warnings as errors; the garbage is collected by the outer pytest."""
    left_out = ("cacheprovider", "playwright", "hypothesispytest", "unraisableexception")
    options = [option for name in left_out for option in ("-p", f"no:{name}")]
    # What the outer pytest has imported can't be rewritten for the inner one.
    options += ["-Werror", "-Wignore::pytest.PytestAssertRewriteWarning"]
    return pytester.runpytest_inprocess(*options)


def test_clients_have_the_method(project):
    """And nothing had to be written for that."""
    project.makepyfile(
        """
        def test_chat(client, wshandler):
            with client.websocket_connect("/chat") as ws:
                ws.send("hi")
                assert ws.receive(timeout=1) == "hi"
                wshandler.clock.advance(20)
                assert ws.ping_count == 1

        def test_again(client):
            with client.websocket_connect("/chat") as ws:
                ws.send("ho")
                assert ws.receive_all() == ["ho"]

        def test_two(client, wshandler):
            from chat import create_app
            with wshandler.other_process(create_app) as second:
                with client.websocket_connect("/chat") as one:
                    with second.websocket_connect("/chat") as other:
                        other.send("hi")
                        assert one.receive() == "hi"
        """
    )
    run(project).assert_outcomes(passed=3)


def test_apps_of_other_tests_are_not_meant(project, monkeypatch):
    """Where no app is current, and though there they are; but those of fixtures that go on are."""
    monkeypatch.setattr(current, "known_apps", weakref.WeakSet())
    project.makepyfile(
        """
        import pytest
        from chat import clients, create_app

        kept = []

        def test_one(app, client):
            kept.append(app)
            with client.websocket_connect("/chat"):
                assert len(clients) == 1

        def test_another(app, client):
            kept.append(app)
            assert len(clients) == 0
            with client.websocket_connect("/chat"):
                assert len(clients) == 1

        def test_two_at_once(app):
            kept.append(create_app())
            with pytest.raises(RuntimeError, match="2 apps"):
                len(clients)

        def test_the_last(app):
            assert len(clients) == 0
        """
    )
    run(project).assert_outcomes(passed=4)


def test_what_is_left_open_is_closed(project):
    """Before the next test, with the threads."""
    project.makepyfile(
        """
        from threads import no_threads

        left = []

        def test_leaves(client):
            left.append(client.websocket_connect("/chat"))
            assert not no_threads()

        def test_finds_nothing(client):
            assert no_threads()
            assert left[0].close_code == 1001
            with client.websocket_connect("/chat") as ws:
                ws.send("hi")
                assert ws.receive_all() == ["hi"]
        """
    )
    run(project).assert_outcomes(passed=2)


def test_failures_nobody_looked_at_are_errors(project):
    """At the teardown of their test, with the handler's traceback; the next test is fine."""
    project.makepyfile(
        """
        def test_does_not_look(client):
            ws = client.websocket_connect("/chat")
            ws.send("boom")

        def test_next(client):
            with client.websocket_connect("/chat"):
                pass
        """
    )
    result = run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_does_not_look*"])
    result.stdout.fnmatch_lines(["chat.py:*: LookupError"])


def test_fixtures_that_fail_at_their_end_hold_nothing_up(project):
    """What the test has left is closed, and its failures are shown with the fixture's."""
    project.makepyfile(
        """
        import pytest
        from threads import no_threads

        @pytest.fixture
        def failing():
            yield
            raise ArithmeticError("at the end of the fixture")

        def test_fails(client, failing):
            client.websocket_connect("/chat").send("boom")

        def test_next(client):
            assert no_threads()
            with client.websocket_connect("/chat"):
                pass
        """
    )
    result = run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_fails*"])
    result.stdout.fnmatch_lines(["E*LookupError: in on_message"])
    result.stdout.fnmatch_lines(["E*ArithmeticError: at the end of the fixture"])


def test_clients_that_no_class_makes_are_left_alone(pytester):
    """Those of other apps are not."""
    pytester.makepyfile(chat=APP)
    pytester.makepyfile(
        """
        import functools
        from flask.testing import FlaskClient
        from chat import create_app

        apps = [create_app(), create_app()]
        apps[0].test_client_class = functools.partial(FlaskClient)

        def test_chat():
            assert not hasattr(apps[0].test_client(), "websocket_connect")
            with apps[1].test_client().websocket_connect("/chat") as ws:
                ws.send("hi")
                assert ws.receive() == "hi"
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_clients_of_wider_fixtures_stay(pytester):
    """As long as their fixture does."""
    pytester.makepyfile(chat=APP, threads=THREADS)
    pytester.makeconftest(CONFTEST.format(scope="(scope='module')"))
    body = """
        import pytest
        from threads import no_threads

        @pytest.fixture(scope="module")
        def ann(app):
            return app.test_client().websocket_connect("/chat")

        def test_first(ann, client):
            bob = client.websocket_connect("/chat")
            bob.send("one")
            assert ann.receive() == "one"

        def test_second(ann, client):
            ann.send("two")
            assert ann.receive_all() == ["two"]
        """
    after = """
        from threads import no_threads

        def test_after():
            assert no_threads()
        """
    pytester.makepyfile(test_a=body, test_b=after)
    run(pytester).assert_outcomes(passed=3)


def test_ones_own_class_and_fixture_names(pytester):
    """Whatever fixture returns an app."""
    pytester.makepyfile(chat=APP)
    pytester.makepyfile(
        """
        import pytest
        from flask.testing import FlaskClient
        from chat import create_app

        class ApiClient(FlaskClient):
            pass

        @pytest.fixture
        def my_app():
            app = create_app()
            app.test_client_class = ApiClient
            return app

        def test_chat(my_app):
            client = my_app.test_client()
            assert isinstance(client, ApiClient)
            with client.websocket_connect("/chat") as ws:
                ws.send("hi")
                assert ws.receive() == "hi"
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_apps_without_a_fixture(pytester):
    """One of a module, and one that a test makes."""
    pytester.makepyfile(chat=APP, whole="from chat import create_app\napp = create_app()")
    talk = """
            with client.websocket_connect("/chat") as ws:
                ws.send("hi")
                assert ws.receive() == "hi"
        """
    pytester.makepyfile(
        test_module=f"""
        from whole import app

        def test_chat():
            client = app.test_client()
            {talk}
        """,
        test_body=f"""
        from chat import create_app

        def test_chat():
            client = create_app().test_client()
            {talk}
        """,
    )
    run(pytester).assert_outcomes(passed=2)


def test_projects_without_websockets_notice_nothing(pytester):
    """The package is not even imported; nor is Flask."""
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.fixture
        def app():
            return object()

        def test_something(app):
            assert "flask_wshandler" not in sys.modules
            assert "flask" not in sys.modules
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:playwright", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1)


def test_package_is_not_imported_before_the_tests(pytester):
    """So coverage sees its first lines, and those of the app."""
    pytester.makepyfile(chat=APP)
    pytester.makeconftest("import sys\nassert 'flask_wshandler' not in sys.modules\n")
    pytester.makepyfile(
        """
        from chat import create_app

        def test_chat():
            create_app()
        """
    )
    pytester.runpytest_subprocess("-p", "no:playwright").assert_outcomes(passed=1)


def test_importing_the_package_imports_no_testing():
    """A server has no use for it, nor for pytest."""
    import subprocess
    import sys

    program = (
        "import sys, flask_wshandler; "
        "assert not [n for n in sys.modules if n.startswith('flask_wshandler.testing')]; "
        "assert 'pytest' not in sys.modules; "
        "import flask_wshandler.testing; assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
