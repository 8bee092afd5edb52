"""`doctor` finds each of many set-ups that are broken on purpose, and is silent on right ones."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import types
import urllib.request

import pytest
from websockets.sync.client import connect

from flask_wshandler.runtime.run_directory import RunDirectory
from tests.bus.networks import RedisServer
from tests.deadlines import DEADLINE_S, wait_for
from tests.docs.markdown_page import MarkdownPage
from tests.docs.programs import Program, gunicorn, haproxy, nginx
from tests.ports import free_port
from tests.shared.conftest import Cluster

from .conftest import ROOT

NGINX_PAGE = MarkdownPage(ROOT / "docs" / "howto" / "nginx.md")
[SITE] = NGINX_PAGE.code("The site", "nginx")
[PROXY_FIX] = NGINX_PAGE.code("The app", "python")
GUNICORN = "gunicorn --workers 2 --threads 4 site_app:app"

APP = """\
from flask import Flask
from flask_wshandler import WebSocketHandler, WebSockets, accept_websocket_request

app = Flask(__name__)
{settings}
app.config.from_prefixed_env()                         # FLASK_WSHANDLER_BUS and so on
sockets = WebSockets(app)

@app.before_request
def nobody_gets_here():
    raise AssertionError("the doctor's requests are answered before the app's own code")

@sockets.route("/rooms/<room>/ws")
class Echo(WebSocketHandler):
    def __init__(self, room):
        self.room = room

    def on_message(self, message):
        self.send(message)

{more}
"""


class Site:
    """The app of one test, its server, and the commands for it."""

    def __init__(self, directory, commands):
        self.directory = directory
        self._commands = commands

    def write(self, more="", **settings):
        lines = [f"app.config[{key!r}] = {value!r}" for key, value in settings.items()]
        text = APP.format(settings="\n".join(lines), more=more)
        (self.directory / "site_app.py").write_text(text)

    def limit_files(self, limit):
        """Have each worker of gunicorn open no more."""
        (self.directory / "gunicorn.conf.py").write_text(
            "import resource\n"
            "def post_worker_init(worker):\n"
            f"    resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        )

    def serve(self, command=GUNICORN):
        return gunicorn(command, self.directory)

    def nginx(self, executable, backend, site=SITE, listen="", name="nginx"):
        return nginx(executable, site, listen, backend, self.directory, name)

    def findings_at_leisure(self, url, *arguments, **environment):
        """The same where an answer is certain to come, however busy the machine is."""
        return self.findings(url, "--timeout", "20", *arguments, **environment)

    def findings(self, url=None, *arguments, **environment):
        """What is found, by id; checks that the exit status says the same."""
        given = [] if url is None else ["--url", url]
        done = self._commands.run("doctor", *given, *arguments, **environment)
        assert done.stderr == ""
        found = {
            line.partition(": ")[2]: line.partition(": ")[0]
            for line in done.stdout.splitlines()
            if line.startswith(("error: ", "warning: ", "note: "))
        }
        is_wrong = any(severity != "note" for severity in found.values())
        assert done.returncode == int(is_wrong), done.stdout
        self.text = done.stdout
        return found


@pytest.fixture
def site(tmp_path, commands):
    return Site(tmp_path, commands)


def http(program):
    return f"http://{program.netloc}"


class TestRight:
    """Nothing is said of a set-up in which nothing is wrong."""

    def test_an_app_alone(self, site):
        """Nothing runs."""
        site.write()
        assert site.findings() == {}
        assert "Nothing is wrong. Looked at the app 'site_app'; --url" in site.text

    @pytest.mark.parametrize(
        "options",
        ["--threads 4", "--threads 4 --preload", "--worker-class gevent", "--workers 2"],
    )
    def test_gunicorn_alone(self, site, options):
        """Each kind of worker, and without a SECRET_KEY: the proof is the file's."""
        site.write()
        with site.serve(f"gunicorn {options} site_app:app") as server:
            assert site.findings_at_leisure(http(server)) == {}
            assert "Looked at the app 'site_app' and http://" in site.text
            assert "/rooms/1/ws (gunicorn/" in site.text

    def test_the_development_server(self, site):
        """`flask run`."""
        site.write()
        port = free_port()
        command = [sys.executable, "-m", "flask", "--app", "site_app", "run", "--port", str(port)]
        with Program(command, port, site.directory) as server:
            assert site.findings_at_leisure(http(server)) == {}

    def test_nginx_and_gunicorn(self, site, nginx_executable):
        """As in docs/howto/nginx.md, on a port of its own."""
        site.write(PROXY_FIX)
        with site.serve() as server, site.nginx(nginx_executable, server) as front:
            assert site.findings_at_leisure(http(front)) == {}

    def test_tls(self, site, nginx_executable):
        """It ends in nginx."""
        site.write(PROXY_FIX)
        listen = tls(site.directory)
        with site.serve() as server, site.nginx(nginx_executable, server, SITE, listen) as front:
            cert = str(site.directory / "cert.pem")
            assert site.findings_at_leisure(f"https://{front.netloc}", SSL_CERT_FILE=cert) == {}
            assert site.findings_at_leisure(f"wss://{front.netloc}/any", "--insecure") == {}

    def test_haproxy_and_gunicorn(self, site, haproxy_executable):
        """As in docs/operations.md."""
        site.write(PROXY_FIX)
        page = MarkdownPage(ROOT / "docs" / "operations.md")
        [configuration] = page.code("HAProxy", "haproxy")
        with (
            site.serve() as server,
            haproxy(haproxy_executable, configuration, "", server, site.directory) as front,
        ):
            assert site.findings_at_leisure(http(front)) == {}

    def test_another_user_with_the_same_secret(self, site):
        """The proof by SECRET_KEY, when the run directory is not the server's; that is said."""
        site.write(SECRET_KEY="the same")
        with site.serve() as server, tempfile.TemporaryDirectory(prefix="ws-") as elsewhere:
            found = site.findings(http(server), XDG_RUNTIME_DIR=elsewhere)
            assert found == {"not-on-the-bus": "warning"}

    def test_redis(self, site):
        """A bus that answers."""
        server = RedisServer(site.directory)
        site.write(WSHANDLER_BUS=server.url)
        try:
            with site.serve() as running:
                assert site.findings() == {}
                assert site.findings_at_leisure(http(running)) == {}
        finally:
            server.stop()

    def test_what_looks_wrong_and_is_not(self, site):
        """Each setting with what makes it right."""
        site.write(
            WSHANDLER_ALLOWED_ORIGINS="*",
            SECRET_KEY="x",
            SESSION_COOKIE_SAMESITE="Lax",
            WSHANDLER_COMPRESSION=True,
            WSHANDLER_MAX_MESSAGE_SIZE=4096,
            WSHANDLER_BUS="none",
        )
        with site.serve("gunicorn --workers 1 --threads 4 site_app:app") as server:
            assert site.findings_at_leisure(http(server)) == {}


def tls(directory):
    """What follows the port of nginx's `listen`, for a certificate of 127.0.0.1. With HTTP/2."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    return f" ssl http2; ssl_certificate {cert}; ssl_certificate_key {key}"


class TestTheIssuesTen:
    """The set-ups that the command was asked for."""

    def test_no_upgrade_headers(self, site, nginx_executable):
        """nginx as it is without a word: HTTP/1.0, and no Upgrade."""
        site.write(PROXY_FIX)
        broken = "\n".join(
            line
            for line in SITE.splitlines()
            if "proxy_http_version" not in line
            and "proxy_set_header Upgrade" not in line
            and "proxy_set_header Connection" not in line
        )
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"no-upgrade-headers": "warning"}
            assert "Upgrade: websocket" in site.text
            assert "go on over HTTP, by streams" in site.text

    def test_no_upgrade_headers_and_nothing_else(self, site, nginx_executable):
        """Where there is no way over HTTP nobody is served."""
        site.write(PROXY_FIX, WSHANDLER_FALLBACK=False)
        [gone] = [line for line in SITE.splitlines(True) if "proxy_set_header Upgrade" in line]
        broken = SITE.replace(gone, "")
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"no-upgrade-headers": "error"}
            assert "over HTTP" not in site.text

    @pytest.mark.parametrize(
        "line", ["proxy_http_version", "proxy_set_header Upgrade", "proxy_set_header Connection"]
    )
    def test_one_of_them_is_missing(self, site, nginx_executable, line):
        """It is named."""
        site.write(PROXY_FIX)
        [gone] = [each for each in SITE.splitlines(True) if line in each]
        broken = SITE.replace(gone, "")
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"no-upgrade-headers": "warning"}

    def test_http2_only(self, site, haproxy_executable):
        """A frontend that takes nothing else."""
        site.write(PROXY_FIX)
        page = MarkdownPage(ROOT / "docs" / "operations.md")
        [configuration] = page.code("HAProxy", "haproxy")
        with (
            site.serve() as server,
            haproxy(
                haproxy_executable, configuration, " proto h2", server, site.directory
            ) as front,
        ):
            assert site.findings(http(front)) == {"http2-only": "error"}

    def test_http2_only_by_tls(self, site, haproxy_executable):
        """And the handshake of TLS does not say so."""
        site.write(PROXY_FIX)
        tls(site.directory)
        pem = site.directory / "both.pem"
        pem.write_text("".join((site.directory / f"{n}.pem").read_text() for n in ("cert", "key")))
        page = MarkdownPage(ROOT / "docs" / "operations.md")
        [configuration] = page.code("HAProxy", "haproxy")
        bind = f" ssl crt {pem} proto h2"
        with (
            site.serve() as server,
            haproxy(haproxy_executable, configuration, bind, server, site.directory) as front,
        ):
            found = site.findings(f"https://{front.netloc}", "--insecure")
            assert found == {"http2-only": "error"}

    def test_a_server_that_keeps_its_sockets(self, site):
        """waitress."""
        site.write()
        port = free_port()
        command = [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{port}", "site_app:app"]
        with Program(command, port, site.directory) as server:
            assert site.findings(http(server)) == {"socket-kept": "error"}
            assert "waitress" in site.text

    @pytest.mark.parametrize("fix", ["", PROXY_FIX])
    def test_a_server_that_does_not_say_its_name(self, site, fix):
        """As Hypercorn, uWSGI and a2wsgi: one finding, whether the app expects a proxy or not."""
        site.write(fix)
        port = free_port()
        (site.directory / "nameless.py").write_text(
            "from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, make_server\n"
            "from site_app import app\n"
            "class Handler(WSGIRequestHandler):\n"
            "    server_version, sys_version = 'hypercorn-h11', ''\n"
            "def nameless(environ, start_response):\n"
            "    del environ['SERVER_SOFTWARE']\n"
            "    return app(environ, start_response)\n"
            "ServerHandler.server_software = 'hypercorn-h11'\n"
            f"make_server('127.0.0.1', {port}, nameless, handler_class=Handler).serve_forever()\n"
        )
        with Program([sys.executable, "nameless.py"], port, site.directory) as server:
            assert site.findings(http(server)) == {"socket-kept": "error"}
            assert "here: the server of this request does not give" in site.text
            assert "/rooms/1/ws.\n" in site.text

    def test_several_workers_without_a_bus(self, site):
        """As the running gunicorn says."""
        site.write(WSHANDLER_BUS="none")
        with site.serve() as server:
            assert site.findings(http(server)) == {"workers-without-bus": "error"}
            assert "2 workers" in site.text

    @pytest.mark.parametrize(
        ("environment", "file"),
        [
            ({"WEB_CONCURRENCY": "3"}, ""),
            ({"GUNICORN_CMD_ARGS": "--threads 2 -w 3"}, ""),
            ({"WEB_CONCURRENCY": "1"}, "workers = 3\n"),
        ],
    )
    def test_several_workers_are_configured(self, site, environment, file):
        """Where no server is asked, what gunicorn would be started with counts."""
        site.write(WSHANDLER_BUS="none")
        if file:
            (site.directory / "gunicorn.conf.py").write_text(file)
        assert site.findings(**environment) == {"workers-without-bus": "error"}
        assert "3 workers" in site.text

    def test_a_low_limit_of_files(self, site):
        """Of the worker, not of the doctor's shell."""
        site.write(WSHANDLER_MAX_CONNECTIONS=500)
        site.limit_files(300)
        with site.serve() as server:
            assert site.findings(http(server)) == {"descriptor-limit": "warning"}
            assert "300 files open, enough for 225 clients" in site.text

    @pytest.mark.parametrize(
        ("limit", "wanted", "found"),
        [
            (1024, None, {}),
            (1024, 2000, {"descriptor-limit": "warning"}),
            (1024, 900, {}),
            (500, None, {"descriptor-limit": "warning"}),
        ],
    )
    def test_the_limit_that_is_usual(self, site, limit, wanted, found):
        """Is enough for an app that does not say how many clients it wants."""
        site.write(**({} if wanted is None else {"WSHANDLER_MAX_CONNECTIONS": wanted}))
        site.limit_files(limit)
        with site.serve() as server:
            assert site.findings_at_leisure(http(server)) == found

    def test_compression_without_the_memory(self, site):
        """The worst case is more than the machine has."""
        site.write(WSHANDLER_COMPRESSION=True, WSHANDLER_MAX_MESSAGE_SIZE=2**40)
        assert site.findings() == {"compression-memory": "warning"}

    def test_a_setting_that_came_too_late(self, site):
        """It was changed when it had been read."""
        site.write("app.config['WSHANDLER_PING_INTERVAL'] = 5")
        assert site.findings() == {"keys-set-late": "warning"}
        assert "WSHANDLER_PING_INTERVAL: changed after WebSockets(app)" in site.text

    def test_any_origin_with_cookies(self, site):
        """Sessions, and pages of whoever likes."""
        site.write(WSHANDLER_ALLOWED_ORIGINS="*", SECRET_KEY="secret")
        assert site.findings() == {"any-origin": "error"}

    @pytest.mark.parametrize(
        ("argument", "same_site", "found"),
        [
            ("False", None, {"any-origin": "note"}),
            ("False", "Lax", {}),
            ("True", None, {}),
            ("None", None, {}),
            ("app.debug", None, {}),
        ],
    )
    def test_a_view_for_any_origin(self, site, argument, same_site, found):
        """It says so itself, and may have its reasons."""
        view = "lambda: accept_websocket_request(Echo(1), require_same_origin=" + argument
        site.write(
            f"app.add_url_rule('/view', view_func={view}, subprotocol=None))",
            SECRET_KEY="secret",
            SESSION_COOKIE_SAMESITE=same_site,
        )
        assert site.findings() == found
        assert ("/view: accepted with" in site.text) is bool(found)

    def test_no_proxy_fix(self, site, nginx_executable):
        """nginx tells who the client is; the app does not listen."""
        site.write()
        with site.serve() as server, site.nginx(nginx_executable, server) as front:
            assert site.findings(http(front)) == {"proxy-fix-missing": "warning"}

    def test_gevent_without_its_patches(self, site):
        """A worker class of somebody's own that leaves them out."""
        site.write()
        (site.directory / "unpatched.py").write_text(
            "from gevent import socket\n"
            "from gunicorn.workers.ggevent import GeventWorker\n"
            "class Worker(GeventWorker):\n"
            "    def patch(self):\n"
            "        self.sockets = [\n"
            "            socket.socket(each.FAMILY, fileno=each.sock.detach())\n"
            "            for each in self.sockets\n"
            "        ]\n"
        )
        with site.serve("gunicorn --worker-class unpatched.Worker site_app:app") as server:
            found = site.findings(http(server))
            assert found["gevent-unpatched"] == "error"

    def test_redis_is_away(self, site):
        """Nobody listens there."""
        site.write(WSHANDLER_BUS=f"redis://:secret@127.0.0.1:{free_port()}/0")
        assert site.findings() == {"redis-unreachable": "error"}
        assert "secret" not in site.text


@pytest.fixture
def other_place():
    """A run directory more."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        yield directory


class TestReturns:
    """Clients that come back, to another worker than the one before."""

    def test_a_door_that_can_not_be_opened(self, site, runtime):
        """Found once somebody has needed it: that is when it is tried."""
        site.write(OPEN)
        door = RunDirectory(f"doors of {site.directory.resolve() / 'site_app'}")
        (runtime / "flask-wshandler").mkdir(mode=0o700)
        (runtime / "flask-wshandler" / door.name).mkdir(mode=0o755)
        (runtime / "flask-wshandler" / door.name / "not empty").touch()  # which would be removed
        with site.serve() as server:
            assert site.findings_at_leisure(http(server)) == {}
            with resumable(server):
                assert site.findings_at_leisure(http(server)) == {"returns-not-passed": "warning"}
        assert "must be 0700" in site.text

    @pytest.mark.parametrize("workers", [1, 2])
    def test_workers_that_keep_their_sockets(self, site, workers):
        """It is said of several, and where there are such clients."""
        site.write(OPEN)
        command = f"gunicorn --worker-class gevent --workers {workers} site_app:app"
        with site.serve(command) as server:
            assert site.findings_at_leisure(http(server)) == {}
            with resumable(server):
                found = {"handlers-made-anew": "note"} if workers == 2 else {}
                assert site.findings_at_leisure(http(server)) == found

    def test_they_are_passed_on(self, site):
        """Nothing is wrong."""
        site.write(OPEN)
        with site.serve() as server, resumable(server):
            assert site.findings_at_leisure(http(server)) == {}

    @pytest.mark.parametrize(
        ("bus", "is_apart", "found"),
        [
            ("local", True, {"hosts-without-redis": "error"}),
            ("local", False, {}),
            ("none", True, {"hosts-without-redis": "error", "workers-without-bus": "error"}),
        ],
    )
    def test_machines(
        self, site, nginx_executable, monkeypatch, runtime, other_place, bus, is_apart, found
    ):
        """Two of them by their names; containers that share a run directory are not apart."""
        site.write(PROXY_FIX + OPEN + NAMED, WSHANDLER_BUS=bus, SECRET_KEY="one for both")
        with contextlib.ExitStack() as until_then:
            netlocs = []
            for name, place in (("one", other_place if is_apart else runtime), ("two", runtime)):
                monkeypatch.setenv("NAME_OF_HOST", name)
                monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
                server = site.serve("gunicorn --threads 4 site_app:app")
                until_then.enter_context(server)
                with resumable(server):
                    netlocs.append(server.netloc)
            both = "; ".join(f"server {netloc}" for netloc in netlocs)
            balanced = f"upstream both {{ {both}; }}\n{SITE}"
            backend = types.SimpleNamespace(netloc="both")
            with site.nginx(nginx_executable, backend, balanced) as front:
                assert site.findings_at_leisure(http(front)) == found
        assert ("machines, one, two" in site.text) is bool(found)


OPEN = """
app.before_request_funcs[None].remove(nobody_gets_here)
"""

NAMED = """
import os, socket
socket.gethostname = lambda: os.environ.get("NAME_OF_HOST", "here")
"""


def resumable(server):
    """A client that can come back."""
    url = f"ws://{server.netloc}/rooms/1/ws"
    return connect(url, subprotocols=["wshandler.1"])


HOLDING = (
    "proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types text/event-stream; "
    "gzip_min_length 0; gzip_proxied any;"
)


class TestStreams:
    """What clients have where no WebSocket gets through."""

    def test_a_proxy_that_holds_them(self, site, nginx_executable):
        """nginx that compresses, and does not listen to what the app says of buffering."""
        site.write(PROXY_FIX)
        holding = SITE.replace("proxy_read_timeout", f"{HOLDING} proxy_read_timeout")
        with site.serve() as server, site.nginx(nginx_executable, server, holding) as front:
            assert site.findings(http(front)) == {"stream-held": "warning"}
            assert "`proxy_buffering off;`" in site.text

    def test_upgrades_are_stripped_and_streams_held(self, site, nginx_executable):
        """It is said what clients go on with."""
        site.write(PROXY_FIX)
        [gone] = [line for line in SITE.splitlines() if "proxy_set_header Upgrade" in line]
        broken = SITE.replace(gone, HOLDING)
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            found = {"no-upgrade-headers": "warning", "stream-held": "warning"}
            assert site.findings(http(front)) == found
            assert "go on over HTTP, by polls" in site.text

    def test_a_proxy_that_ends_them(self, site, haproxy_executable):
        """HAProxy has a time of its own for WebSockets."""
        site.write(PROXY_FIX)
        page = MarkdownPage(ROOT / "docs" / "operations.md")
        [configuration] = page.code("HAProxy", "haproxy")
        impatient = re.sub(r"timeout server +\w+", "timeout server 1s", configuration)
        assert impatient != configuration
        with (
            site.serve() as server,
            haproxy(haproxy_executable, impatient, "", server, site.directory) as front,
        ):
            found = site.findings_at_leisure(http(front), "--idle", "2")
            assert found == {"stream-cut-off": "warning"}
            assert "`timeout server 90s`" in site.text

    def test_a_response_that_something_replaces(self, site):
        """An `after_request` function that has something against event streams."""
        site.write(
            "@app.after_request\n"
            "def replace(response):\n"
            "    if response.mimetype == 'text/event-stream':\n"
            "        return app.response_class('replaced', 418)\n"
            "    return response\n"
        )
        with site.serve() as server:
            assert site.findings(http(server)) == {"stream-lost": "warning"}
            assert "an answer of 418" in site.text

    def test_they_are_turned_off(self, site, nginx_executable):
        """Nobody asks for one."""
        site.write(PROXY_FIX, WSHANDLER_FALLBACK=False)
        holding = SITE.replace("proxy_read_timeout", f"{HOLDING} proxy_read_timeout")
        with site.serve() as server, site.nginx(nginx_executable, server, holding) as front:
            assert site.findings(http(front)) == {}

    def test_without_http2(self, site, nginx_executable):
        """Tabs share six connections."""
        site.write(PROXY_FIX)
        listen = tls(site.directory).replace(" http2", "")
        with site.serve() as server, site.nginx(nginx_executable, server, SITE, listen) as front:
            found = site.findings_at_leisure(f"https://{front.netloc}", "--insecure")
            assert found == {"no-http2": "note"}

    def test_posts_without_a_bus(self, site):
        """They come to any worker, and can't be handed over."""
        site.write(WSHANDLER_BUS="none")
        with site.serve() as server:
            assert site.findings(http(server)) == {"workers-without-bus": "error"}
            assert "refused with 503" in " ".join(site.text.split())


class TestVisit:
    """The doctor is no client of the app: nobody hears of him, and no figure is of him."""

    #: What hears of clients, counts them and writes of them.
    WATCHED = """
import logging
from pathlib import Path
from flask_wshandler import message_received, websocket_connected, websocket_disconnected
from flask_wshandler.prometheus import PrometheusMetrics

app.before_request_funcs[None].remove(nobody_gets_here)
PrometheusMetrics(app, path="/metrics")
log = logging.getLogger("flask_wshandler.access")
log.setLevel(logging.INFO)
log.addHandler(logging.FileHandler(Path(__file__).with_name("heard")))

@websocket_connected.connect
@message_received.connect
@websocket_disconnected.connect
def hear(app, handler, **arguments):
    log.info("a signal of %s", handler.room)        # which the app's handlers have
"""

    def test_leaves_no_trace(self, site):
        """In the signals, the figures and the log there is the client that came after, alone."""
        site.write(self.WATCHED)
        heard = site.directory / "heard"
        with site.serve("gunicorn --threads 4 site_app:app") as server:
            assert site.findings_at_leisure(http(server)) == {}
            with connect(f"ws://{server.netloc}/rooms/2/ws") as client:
                client.send("hello")
                assert client.recv(DEADLINE_S) == "hello"
            wait_for(lambda: "closed peer=" in heard.read_text(), "the line of the end")

            def figures_with_the_end():
                url = f"{http(server)}/metrics"
                with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
                    figures = response.read().decode()
                return figures if "flask_wshandler_closes_total{" in figures else None

            # It is counted a moment after its line.
            figures = wait_for(figures_with_the_end, "the figure of the end")
        assert heard.read_text().splitlines()[:3] == 3 * ["a signal of 2"]
        assert len(heard.read_text().splitlines()) == 4
        for name in ("accepted", "closes", "messages_received", "messages_sent"):
            pattern = rf"^flask_wshandler_{name}_total.* (\S+)$"
            assert re.findall(pattern, figures, re.MULTILINE) == ["1.0"]
        assert set(re.findall(r'handler="(\w+)"', figures)) == {"Echo"}


class TestTheServersSettings:
    """With --url they are judged, whatever this shell's environment makes of the app."""

    def findings(self, site, monkeypatch, **settings):
        site.write()
        for key, value in settings.items():
            monkeypatch.setenv(f"FLASK_{key}", value)  # not for the commands, which have theirs
        with site.serve() as server:
            return site.findings_at_leisure(http(server))

    def test_several_workers_without_a_bus(self, site, monkeypatch):
        """The doctor's own app has one."""
        found = self.findings(site, monkeypatch, WSHANDLER_BUS="none")
        assert found == {"workers-without-bus": "error", "other-settings": "note"}
        assert "another WSHANDLER_BUS than this shell" in site.text

    def test_redis_is_away(self, site, monkeypatch):
        """From the first visit on, before anybody has needed it."""
        url = f"redis://:secret@127.0.0.1:{free_port()}/0"
        found = self.findings(site, monkeypatch, WSHANDLER_BUS=url)
        assert found == {"redis-unreachable": "error", "other-settings": "note"}
        assert "can't be used from the server: " in site.text
        assert "secret" not in site.text

    def test_any_origin_with_cookies(self, site, monkeypatch):
        """Neither is known here."""
        found = self.findings(site, monkeypatch, WSHANDLER_ALLOWED_ORIGINS="*", SECRET_KEY="secret")
        assert found == {"any-origin": "error", "other-settings": "note"}
        assert "WSHANDLER_ALLOWED_ORIGINS, SECRET_KEY than" in site.text


def test_a_worker_is_silent(tmp_path, crowd, commands_of):
    """SIGSTOP: its clients wait, and it is found without an address, too."""
    cluster = Cluster(tmp_path, "local")
    server = cluster.start(workers=2)
    one, _ = crowd.join_each(server, 1)
    server.signal_process(one.pid, signal.SIGSTOP)
    try:
        done = commands_of(server).run("doctor", "--timeout", "1")
        assert "warning: worker-silent\n  1 process on the bus did not" in done.stdout
        assert done.returncode == 1
    finally:
        server.signal_process(one.pid, signal.SIGCONT)
        cluster.stop()


def test_workers_that_were_added(tmp_path, crowd, commands_of):
    """gunicorn was started with one; SIGTTIN has made it two, of which the first knows nothing."""
    cluster = Cluster(tmp_path, "local")
    try:
        server = cluster.start(1, "gthread", WSHANDLER_TRANSPORT="blocking")
        server.process.send_signal(signal.SIGTTIN)
        server.wait_for(lambda: len(server.workers) == 2, "another worker")
        crowd.join_each(server, 1)
        done = commands_of(server).run("doctor", "--timeout", "20")
        assert "of them. Workers: 2. So" in done.stdout
    finally:
        cluster.stop()


class TestThreadPerClient:
    """Where a WebSocket keeps the thread of its request, there are as many clients as threads."""

    @pytest.mark.parametrize(
        ("options", "severity", "words"),
        [
            ("--workers 2", "error", "has no other. Workers: 2. So there can be 2 clients,"),
            ("--workers 2 --threads 4", "warning", "4 of them. Workers: 2. So there can be 8"),
        ],
    )
    @pytest.mark.parametrize("is_tls", [True, False])
    def test_workers_with_threads(self, site, options, severity, words, is_tls):
        """TLS that ends in gunicorn, and the setting that asks for it."""
        site.write(WSHANDLER_TRANSPORT="auto" if is_tls else "blocking")
        if is_tls:
            tls(site.directory)
            options += " --certfile cert.pem --keyfile key.pem"
        with site.serve(f"gunicorn {options} site_app:app") as server:
            url = f"{'https' if is_tls else 'http'}://{server.netloc}"
            found = site.findings_at_leisure(url, "--insecure")
            assert found == {"thread-per-client": severity}
            assert words in site.text

    @pytest.mark.parametrize("options", ["--worker-class gevent", "--threads 5"])
    def test_there_is_a_thread_for_everybody(self, site, options):
        """Greenlets, or one thread more than clients."""
        site.write(WSHANDLER_TRANSPORT="blocking", WSHANDLER_MAX_CONNECTIONS=4)
        with site.serve(f"gunicorn {options} site_app:app") as server:
            assert site.findings_at_leisure(http(server)) == {}


class TestProxyFixNumbers:
    """Of the proxies that there are, and which address the app takes for the client's."""

    #: Else all have the same address: the client, the proxy and the app.
    FROM_ELSEWHERE = SITE.replace("proxy_pass", "proxy_bind 127.0.0.2; proxy_pass")

    def test_clients_choose_their_address(self, site, nginx_executable):
        """One proxy, and the app looks past what it has added."""
        site.write(PROXY_FIX.replace("x_for=1", "x_for=2"))
        with site.serve() as server, site.nginx(nginx_executable, server) as front:
            assert site.findings(http(front)) == {"proxy-fix-numbers": "error"}
            assert "`x_for=1`" in site.text

    def test_the_proxy_passes_on_what_clients_say(self, site, nginx_executable):
        """As nginx does with any header, without a word."""
        site.write(PROXY_FIX)
        [line] = [each for each in SITE.splitlines(True) if "X-Forwarded-For" in each]
        broken = SITE.replace(line, "")
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"proxy-fix-numbers": "error"}
            assert "$proxy_add_x_forwarded_for" in site.text

    @pytest.mark.parametrize(("x_for", "seen"), [(1, "127.0.0.2"), (2, None)])
    def test_two_proxies(self, site, nginx_executable, x_for, seen):
        """With one number too few every client is the first of them."""
        site.write(PROXY_FIX.replace("x_for=1", f"x_for={x_for}"))
        with (
            site.serve() as server,
            site.nginx(nginx_executable, server, name="inner") as inner,
            site.nginx(nginx_executable, inner, self.FROM_ELSEWHERE) as front,
        ):
            found = site.findings_at_leisure(http(front))
        assert found == ({} if seen is None else {"proxy-fix-numbers": "warning"})
        if seen is not None:
            assert f"every client seems to be {seen}," in site.text
            assert "`x_for=2`" in site.text

    def test_proxy_fix_leaves_the_address_alone(self, site, nginx_executable):
        """x_for=0, though the proxy says who the client is."""
        site.write(PROXY_FIX.replace("x_for=1", "x_for=0"))
        with (
            site.serve() as server,
            site.nginx(nginx_executable, server, self.FROM_ELSEWHERE) as front,
        ):
            assert site.findings(http(front)) == {"proxy-fix-numbers": "warning"}
            assert "every client seems to be 127.0.0.2," in site.text


class TestOthers:
    """What else it knows."""

    def test_nobody_listens(self, site):
        """The server is not running."""
        site.write()
        assert site.findings(f"http://127.0.0.1:{free_port()}") == {"server-unreachable": "error"}

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_nobody_answers(self, site, scheme):
        """Something takes connections and says nothing."""
        site.write()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
            found = site.findings(url, "--timeout", "0.5")
        assert found == {"server-unreachable": "error"}

    @pytest.mark.parametrize("is_nginx", [True, False])
    @pytest.mark.parametrize("is_tls", [True, False])
    def test_the_wrong_scheme(self, site, nginx_executable, is_nginx, is_tls):
        """The server runs, and the doctor says how to speak to it."""
        site.write(PROXY_FIX)
        listen = tls(site.directory)
        options = " --certfile cert.pem --keyfile key.pem" if is_tls and not is_nginx else ""
        with (
            site.serve(GUNICORN + options) as server,
            site.nginx(nginx_executable, server, SITE, listen if is_tls else "") as front,
        ):
            asked, right = ("http", "https") if is_tls else ("https", "http")
            url = f"{asked}://{(front if is_nginx else server).netloc}"
            assert site.findings(url) == {"wrong-scheme": "error"}
            assert f"a server for {right}: does" in site.text

    def test_a_password_is_asked_for(self, site, nginx_executable):
        """By nginx; the doctor tells it, and nobody else."""
        site.write(PROXY_FIX)
        (site.directory / "users").write_text("operator:{PLAIN}se cr@t\n")
        asking = f"auth_basic staging; auth_basic_user_file {site.directory}/users; proxy_pass"
        guarded = SITE.replace("proxy_pass", asking)
        with site.serve() as server, site.nginx(nginx_executable, server, guarded) as front:
            assert site.findings(http(front)) == {"password-required": "error"}
            url = f"http://operator:{{}}@{front.netloc}"
            assert site.findings(url.format("wrong")) == {"password-required": "error"}
            assert "wrong" not in site.text
            assert site.findings_at_leisure(url.format("se%20cr%40t")) == {}
            assert "operator" not in site.text

    def test_nobody_is_behind_the_proxy(self, site, nginx_executable):
        """502."""
        site.write(PROXY_FIX)
        with site.serve() as server:
            front = site.nginx(nginx_executable, server)
        with front:
            assert site.findings(http(front)) == {"bad-gateway": "error"}

    def test_a_certificate_of_ones_own(self, site, nginx_executable):
        """A browser asks nobody then."""
        site.write(PROXY_FIX)
        with (
            site.serve() as server,
            site.nginx(nginx_executable, server, SITE, tls(site.directory)) as front,
        ):
            assert site.findings(f"https://{front.netloc}") == {"certificate-refused": "error"}

    def test_a_redirect(self, site, nginx_executable):
        """To https, say."""
        site.write(PROXY_FIX)
        location = "    location / {\n        return 301 https://example.org$request_uri;\n"
        broken = SITE.replace("    location / {\n", location)
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"redirected": "error"}
            assert "https://example.org/rooms/1/ws" in site.text

    def test_another_app(self, site):
        """It does not know the proof, so no handler of its is asked for a WebSocket."""
        site.write()
        other = site.directory / "other"
        other.mkdir()
        (other / "site_app.py").write_text(APP.format(settings="", more=""))
        with gunicorn(GUNICORN, other) as server:
            assert site.findings(http(server)) == {"not-this-app": "error"}

    @pytest.mark.parametrize(
        ("host", "words"),
        [
            ("$host", ": the port is lost"),
            ("$host:9", ": it is another port"),
            ("elsewhere", "'elsewhere'. Pages"),
        ],
    )
    def test_the_host_is_lost(self, site, nginx_executable, host, words):
        """`$host` lacks the port; then the site's own pages are refused."""
        site.write(PROXY_FIX)
        broken = SITE.replace("$http_host", host)
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"host-lost": "error"}
            assert words in site.text
            assert "refused with 403" in site.text

    def test_the_scheme_is_lost(self, site, nginx_executable):
        """TLS ends in nginx, which does not say so."""
        site.write(PROXY_FIX)
        [line] = [each for each in SITE.splitlines(True) if "X-Forwarded-Proto" in each]
        broken = SITE.replace(line, "")
        listen = tls(site.directory)
        with site.serve() as server, site.nginx(nginx_executable, server, broken, listen) as front:
            found = site.findings(f"https://{front.netloc}", "--insecure")
            assert found == {"forwarded-headers-missing": "error"}
            assert "does not tell the app X-Forwarded-Proto, though the site is https:" in site.text
            assert "X-Forwarded-For" not in site.text

    def test_the_scheme_is_overwritten(self, site, nginx_executable):
        """TLS ends in the outer one of two proxies, and the inner one says what it has seen.

        It also keeps to itself what the app says of buffering.
        """
        site.write(PROXY_FIX.replace("x_for=1", "x_for=2"))
        listen = tls(site.directory)
        with (
            site.serve() as server,
            site.nginx(nginx_executable, server, name="inner") as inner,
            site.nginx(nginx_executable, inner, SITE, listen) as front,
        ):
            found = site.findings(f"https://{front.netloc}", "--insecure")
            assert found == {"forwarded-headers-missing": "error", "stream-held": "warning"}
            assert "told wrongly: X-Forwarded-Proto is 'http'" in site.text
            assert "$http_x_forwarded_proto" in site.text

    def test_the_clients_address_is_lost(self, site, nginx_executable):
        """No pages are refused because of that."""
        site.write(PROXY_FIX)
        header = "X-Forwarded-For   $proxy_add_x_forwarded_for"
        broken = SITE.replace(header, 'X-Forwarded-For ""')
        assert broken != SITE
        with site.serve() as server, site.nginx(nginx_executable, server, broken) as front:
            assert site.findings(http(front)) == {"forwarded-headers-missing": "warning"}
            assert "every client seems to be 127.0.0.1," in site.text
            assert "http:" not in site.text.partition("Do:")[0]

    def test_proxy_fix_does_not_take_the_scheme(self, site, nginx_executable):
        """Of a proxy whose word gunicorn does not take either."""
        site.write(PROXY_FIX.replace(", x_proto=1", ", x_proto=0"))
        listen = tls(site.directory)
        command = GUNICORN + " --forwarded-allow-ips 192.0.2.1"
        with (
            site.serve(command) as server,
            site.nginx(nginx_executable, server, SITE, listen) as front,
        ):
            found = site.findings(f"https://{front.netloc}", "--insecure")
            assert found == {"proxy-fix-missing": "error"}

    def test_the_setting_leaves_out_the_site_itself(self, site, nginx_executable):
        """Seen through a proxy; asked directly, the address is not the site's."""
        site.write(PROXY_FIX, WSHANDLER_ALLOWED_ORIGINS=["https://example.org"])
        with site.serve() as server, site.nginx(nginx_executable, server) as front:
            assert site.findings(http(front)) == {"own-origin-refused": "warning"}
            assert site.findings(http(server)) == {}

    def test_the_worker_is_full(self, site):
        """A valid handshake is refused, and the doctor says with what."""
        site.write(
            "app.before_request_funcs[None].remove(nobody_gets_here)", WSHANDLER_MAX_CONNECTIONS=1
        )
        with (
            site.serve("gunicorn --threads 4 site_app:app") as server,
            connect(f"ws://{server.netloc}/rooms/1/ws"),
        ):
            assert site.findings(http(server)) == {"handshake-refused": "error"}
            assert "503: There are 1 connections already." in site.text
            assert "Do: More workers" in site.text

    def test_the_transport_is_none_of_the_servers(self, site):
        """More workers would not help."""
        site.write(WSHANDLER_TRANSPORT="epoll")
        with site.serve("gunicorn --worker-class gevent site_app:app") as server:
            assert site.findings(http(server)) == {"handshake-refused": "error"}
            assert "400: WSHANDLER_TRANSPORT is 'epoll'" in site.text
            assert 'Do: Set WSHANDLER_TRANSPORT to "auto"' in site.text

    @pytest.mark.parametrize(
        ("max_requests", "found"), [(2, {}), (1, {"handshake-refused": "error"})]
    )
    def test_a_worker_ends(self, site, max_requests, found):
        """After the page; the next one takes the WebSocket, unless it ends as soon."""
        site.write()
        command = f"gunicorn --threads 4 --max-requests {max_requests} site_app:app"
        with site.serve(command) as server:
            assert site.findings_at_leisure(http(server)) == found
            assert ("`--max-requests`" in site.text) is bool(found)

    def test_an_upgrade_that_something_swallows(self, site):
        """An `after_request` function that replaces every response with its own."""
        site.write(
            "@app.after_request\n"
            "def replace(response):\n"
            "    if response.status_code == 101:\n"
            "        return app.response_class('replaced', 418)\n"
            "    return response\n"
        )
        with site.serve() as server:
            assert site.findings(http(server)) == {"upgrade-lost": "warning"}

    @pytest.mark.parametrize(
        ("waits_s", "ping_interval", "idle_s", "found"),
        [
            (1, 20.0, 30, {"idle-cut-off": "error", "stream-cut-off": "warning"}),
            (2, 0.5, 3, {}),  # takes six seconds, for it waits twice
        ],
    )
    def test_a_proxy_with_little_patience(
        self, site, nginx_executable, waits_s, ping_interval, idle_s, found
    ):
        """It takes a silent connection for a dead one, unless pings come before."""
        site.write(PROXY_FIX, WSHANDLER_PING_INTERVAL=ping_interval)
        impatient = SITE.replace("proxy_read_timeout 90s", f"proxy_read_timeout {waits_s}s")
        assert impatient != SITE
        with site.serve() as server, site.nginx(nginx_executable, server, impatient) as front:
            assert site.findings_at_leisure(http(front), "--idle", str(idle_s)) == found
            assert ("pings come every 20 s" in site.text) is bool(found)

    def test_a_run_directory_that_others_may_enter(self, site, runtime):
        """The local bus does not use it."""
        site.write()
        (runtime / "flask-wshandler").mkdir(mode=0o755)
        assert site.findings() == {"local-bus-unusable": "error"}
        assert "must be 0700" in site.text

    def test_the_limit_of_this_shell(self, site):
        """Is a note: the server may have another."""
        site.write(WSHANDLER_MAX_CONNECTIONS=2**30)
        assert site.findings() == {"descriptor-limit": "note"}

    def test_an_address_that_is_none(self, site, commands):
        """Is a mistake of usage."""
        site.write()
        for url in ("127.0.0.1:8000", "ftp://example.org", "http://", "http://a..b", "http://h:0"):
            done = commands.run("doctor", "--url", url)
            assert done.returncode == 2
            assert "is no address such as" in done.stderr
        assert commands.run("doctor", "--idle", "1").returncode == 2
        done = commands.run("doctor", "--url", "ftp://operator:secret@example.org")
        assert done.returncode == 2
        assert "secret" not in done.stderr

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://127.0.0.1:{port}/čat", "/%C4%8Dat does not answer"),
            ("http://127.0.0.1:{port}/a b?c=d e", "/a%20b?c=d%20e does not answer"),
            ("http://bücher.invalid:{port}/", "http://xn--bcher-kva.invalid:"),
        ],
    )
    def test_an_address_that_is_not_ascii(self, site, url, words):
        """Goes out as a browser sends it."""
        site.write()
        found = site.findings(url.format(port=free_port()))
        assert found == {"server-unreachable": "error"}
        assert words in site.text

    def test_a_route_that_is_not_ascii(self, site):
        """The same for what the app itself says."""
        site.write("app.add_url_rule('/čat/<x>', view_func=lambda x: accept_websocket_request(x))")
        with site.serve() as server:
            assert site.findings_at_leisure(http(server)) == {}
            assert "/rooms/1/ws, /%C4%8Dat/1 (gunicorn" in site.text

    @pytest.mark.parametrize("end", ["", "/", "/rooms/9/ws"])
    def test_a_location_of_the_proxy_is_wrong(self, site, nginx_executable, end):
        """An address of the site is that of all its WebSockets, one of a path of that alone."""
        site.write(PROXY_FIX + "\nsockets.route('/zoo', endpoint='zoo')(Echo)\n")
        location = "    location /zoo {\n proxy_pass http://BACKEND; proxy_set_header Host "
        location += "$http_host; proxy_set_header X-Forwarded-For $remote_addr;\n }\n"
        with site.serve() as server:
            location = location.replace("BACKEND", server.netloc)
            broken = SITE.replace("    location / {\n", location + "    location / {\n")
            with site.nginx(nginx_executable, server, broken) as front:
                found = site.findings_at_leisure(http(front) + end)
        assert found == ({} if "rooms" in end else {"no-upgrade-headers": "warning"})
        assert ("Of /zoo: The proxy does not pass" in site.text) is ("rooms" not in end)

    def test_a_websocket_at_the_root(self, site):
        """Is one of those that are visited."""
        site.write("sockets.route('/', endpoint='root')(Echo)")
        with site.serve() as server:
            assert site.findings_at_leisure(http(server)) == {}
            assert f"{http(server)}/, /rooms/1/ws (gunicorn" in site.text

    def test_more_paths_than_are_visited(self, site):
        """Their number is said."""
        site.write("for n in range(12): sockets.route(f'/more/{n}', endpoint=str(n))(Echo)")
        with site.serve() as server:
            assert site.findings_at_leisure(http(server)) == {}
            assert "/more/7 and not 3 more paths (gunicorn" in site.text

    def test_a_narrow_terminal(self, site, commands):
        """Every line is broken between words, the last one, too."""
        site.write(WSHANDLER_ALLOWED_ORIGINS="*", SECRET_KEY="secret")
        lines = commands.on_a_terminal(40, "doctor").splitlines()
        assert max(map(len, lines)) <= 40
        assert " ".join(lines).endswith("--url looks at the running server, too.")

    def test_json(self, site, commands):
        """The same, for programs."""
        site.write(WSHANDLER_ALLOWED_ORIGINS="*", SECRET_KEY="secret")
        found = commands.json("doctor")
        assert found["looked_at"] == ["the app 'site_app'"]
        [finding] = found["findings"]
        assert finding.keys() == {"id", "severity", "what", "remedy", "link"}
        assert finding["link"] == "docs/command-line.md#any-origin"
