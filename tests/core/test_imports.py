"""Who may import whom: the architecture, enforced."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "flask_wshandler"
MODULES = {
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
}
MAY_USE_FLASK = re.compile(
    r"(accept|callbacks|context\..*|diagnosis|extension|function|http_handler|observers"
    r"|operator_key|otel|prometheus|request_thread|routing|upgrade"
    r"|cli\.(__init__|commands|routes|sending|doctor\.(__init__|examination|facts))"
    r"|testing\.(client|worker))"
)
#: A module, and what of ours it may import at run time.
MAY_IMPORT = {
    "errors": set(),
    "first_use": set(),
    "faults": {"first_use", "tally"},
    "locks": {"faults", "first_use"},
    "threads": {"faults", "first_use"},
    "logs": {"faults", "first_use", "locks", "threads"},
    "process": {"faults", "first_use", "logs"},
    "timer": {"faults", "locks", "logs", "threads"},
    "keepalive": set(),
    "rate": set(),
    "room": set(),
    "slow": {"redaction"},
    "tally": set(),
    "wrapped": set(),
    "signals": {"wrapped"},
    "access_log": {"logs", "redaction"},
    "state": {"process"},
    "redaction": set(),
    "client_address": set(),
    "log_throttle": set(),
    "origins": set(),
    "settings": {"errors", "logs", "origins", "redaction"},
    "serialization": set(),
    "frames": {"errors"},
    "reader": {"errors", "frames"},
    "outbox": {"frames"},
    "handshake": {"errors"},
    "connection": {
        "errors", "faults", "frames", "keepalive", "logs", "outbox", "rate", "reader", "settings",
    },
    "early": {"errors", "frames"},
    "near_misses": set(),
    "guards": {"handler"},
    "handler": {"early", "errors", "faults", "frames", "logs", "near_misses", "process"},
    "bus.__init__": {"redaction", "bus.contract", "bus.envelope", "bus.local", "bus.none",
                     "bus.redis_bus", "bus.run_directory"},
    "bus.envelope": set(),
    "bus.contract": {"bus.envelope", "faults", "logs", "process", "redaction"},
    "bus.none": {"bus.contract"},
    "bus.run_directory": set(),
    "bus.link": set(),
    "bus.local": {
        "bus.contract", "bus.envelope", "bus.link", "bus.run_directory", "faults", "locks", "logs",
        "process", "threads",
    },
    "bus.outage": set(),
    "bus.parts": {"bus.envelope"},
    "bus.redis_address": set(),
    "bus.redis_publisher": {
        "bus.outage", "bus.parts", "bus.redis_address", "locks", "logs", "process", "threads",
    },
    "bus.redis_subscriber": {
        "bus.outage", "bus.redis_address", "bus.redis_publisher", "locks", "logs", "process",
        "threads",
    },
    "bus.redis_bus": {
        "bus.contract", "bus.envelope", "bus.outage", "bus.parts", "bus.redis_address",
        "bus.redis_publisher", "bus.redis_subscriber", "logs",
    },
    "bus.memory": {"bus.contract", "locks", "logs", "threads"},
    "presence": {"bus", "locks", "timer"},
    "watchers": {"faults", "locks", "logs", "presence", "threads"},
    "inquiry": {"bus", "locks"},
    "part": {"handler", "locks"},
    "hub": {
        "bus", "errors", "frames", "handler", "inquiry", "locks", "logs", "part", "presence",
        "process", "timer", "watchers",
    },
    "collection": {
        "bus", "errors", "frames", "handler", "hub", "near_misses", "presence", "serialization",
    },
    "groups": {"bus", "collection", "handler", "hub"},
    "transports.readiness": set(),
    "transports.channel": {"faults", "logs", "process", "transports.readiness"},
    "transports.pace": set(),
    "transports.pollers": {"locks", "logs", "threads", "transports.pace"},
    "transports.epoll": {"transports.channel", "transports.handoff", "transports.pollers"},
    "transports.blocking": {"transports.channel", "transports.readiness"},
    "transports.wsgi_server": {"process"},
    "transports.handoff": {"errors", "transports.wsgi_server"},
    "transports.engine": {
        "errors", "faults", "locks", "logs", "outbox", "process", "room", "settings", "tally",
        "threads", "timer", "transports.blocking", "transports.epoll", "transports.handoff",
        "transports.wsgi_server",
    },
    "observers": {"callbacks", "errors", "signals", "wrapped"},
    "metrics.__init__": set(),
    "metrics.families": set(),
    "metrics.times": {"process"},
    "metrics.figures": {"errors", "metrics.families"},
    "metrics.books": {"bus.run_directory", "metrics.figures"},
    "metrics.ledger": {
        "bus.run_directory", "locks", "logs", "metrics.books", "metrics.figures", "process",
        "threads", "transports.handoff",
    },
    "metrics.measured": {
        "metrics.figures", "metrics.ledger", "metrics.times", "process", "state",
    },
    "request_thread": {"context", "handshake", "transports.wsgi_server"},
    "prometheus": {
        "metrics.families", "metrics.figures", "metrics.measured", "metrics.times", "observers",
    },
    "otel": {
        "metrics.families", "metrics.figures", "metrics.times", "observers", "state",
    },
    "identity": set(),
    "operator_key": {"bus.run_directory", "state"},
    "answers": {
        "callbacks", "errors", "faults", "function", "settings", "transports.engine",
        "transports.handoff",
    },
    "diagnosis": {
        "accept", "answers", "errors", "handshake", "operator_key", "origins", "settings", "state",
        "tally", "transports.handoff",
    },
    "cli.__init__": {"cli.commands"},
    "cli.tables": {"redaction"},
    "cli.shapes": set(),
    "cli.workers": {"answers", "bus", "hub", "inquiry", "cli.shapes"},
    "cli.routes": {"errors", "guards", "handler", "http_handler", "settings", "state"},
    "cli.sending": {
        "bus.envelope", "collection", "groups", "inquiry", "state", "cli.tables", "cli.workers",
    },
    "cli.commands": {
        "errors", "inquiry", "state",
        "cli.doctor", "cli.routes", "cli.sending", "cli.tables", "cli.workers",
    },
    "cli.doctor.findings": set(),
    "cli.doctor.address": {"redaction"},
    "cli.doctor.spoken": {"cli.doctor.address"},
    "cli.doctor.visit": {
        "diagnosis", "operator_key", "room", "cli.shapes",
        "cli.doctor.address", "cli.doctor.spoken",
    },
    "cli.doctor.server_config": set(),
    "cli.doctor.facts": {"answers", "diagnosis", "cli.doctor.visit"},
    "cli.doctor.app_checks": {"room", "cli.doctor.facts", "cli.doctor.findings"},
    "cli.doctor.proxy_checks": {
        "cli.doctor.facts", "cli.doctor.findings", "cli.doctor.visit",
    },
    "cli.doctor.server_checks": {
        "room", "cli.doctor.facts", "cli.doctor.findings", "cli.doctor.visit",
    },
    "cli.doctor.examination": {
        "answers", "diagnosis", "state", "bus", "hub", "operator_key", "transports.engine",
        "cli.doctor.address", "cli.doctor.facts", "cli.doctor.server_config", "cli.doctor.visit",
        "cli.routes", "cli.workers",
    },
    "cli.doctor.__init__": {
        "answers", "cli.doctor.address", "cli.doctor.app_checks", "cli.doctor.examination",
        "cli.doctor.facts", "cli.doctor.findings", "cli.doctor.proxy_checks",
        "cli.doctor.server_checks", "cli.tables",
        "cli.workers",
    },
    "testing.errors": {"errors"},
    "testing.failures": set(),
    "testing.patience": set(),
    "testing.clock": {"timer", "testing.patience"},
    "testing.engine": {"transports.engine", "transports.readiness"},
    "testing.wire": {"errors", "transports.readiness"},
    "testing.websocket": {"errors", "testing.errors", "testing.patience", "testing.wire"},
    "testing.worker": {
        "bus.memory", "extension", "process", "state", "testing.client", "testing.clock",
        "testing.engine",
        "testing.errors", "testing.failures", "testing.patience", "testing.websocket",
    },
    "testing.client": {
        "callbacks", "extension", "state", "transports.handoff",
        "testing.errors", "testing.failures", "testing.patience", "testing.websocket",
        "testing.wire", "testing.worker",
    },
}  # fmt: skip


def imports_of(path):
    """(names of ours, names of others) that a module imports at run time."""
    ours, others = set(), set()
    tree = ast.parse(path.read_text())
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = list(package[: len(package) - node.level + 1])
            module = [*base, *(node.module.split(".") if node.module else [])]
            for name in node.names:
                whole = ".".join([*module, name.name])
                ours.add(whole if whole in MODULES else ".".join(module))
        elif isinstance(node, ast.ImportFrom):
            others.add(node.module)
    return ours, others


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_knows_only_what_is_below(name):
    """DESIGN: errors and settings nothing, the connection no transport, transports no Flask."""
    assert imports_of(MODULES[name])[0] <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", MODULES)
def test_flask_is_known_at_the_top_only(name):
    """The engine and the protocol run without it."""
    _, others = imports_of(MODULES[name])
    uses_flask = any(other.split(".")[0] in ("flask", "werkzeug") for other in others)
    assert not uses_flask or MAY_USE_FLASK.fullmatch(name)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("testing.")])
def test_nobody_knows_what_is_for_tests(name):
    """Servers never import it, nor the bus that only tests use."""
    known = imports_of(MODULES[name])[0]
    assert not [each for each in known if each.startswith("testing") or each == "bus.memory"]


@pytest.mark.parametrize(
    "name", ["connection", "reader", "frames", "outbox", "handshake", "origins"]
)
def test_the_protocol_does_no_io(name):
    """Sans-I/O: no socket, no poll, no time."""
    _, others = imports_of(MODULES[name])
    assert not others & {"socket", "select", "selectors", "ssl", "time", "os"}


def test_no_wait_depends_on_the_wall_clock():
    """It may be set back, or an hour ahead. Three modules date something, and wait for nothing."""
    uses = {name for name, path in MODULES.items() if "time.time(" in path.read_text()}
    # A file's age, a connection's date, a proof's.
    assert uses == {"bus.run_directory", "context.snapshot", "operator_key"}


def test_only_the_hand_off_names_servers():
    """Elsewhere one is what `handoff` and `wsgi_server` say it is; the doctor tells people."""
    for name, path in MODULES.items():
        if name in ("transports.handoff", "transports.wsgi_server") or name.startswith(
            "cli.doctor."
        ):
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                is_key = name == "context.snapshot" and "." in node.value
                is_doc = id(node) in docstrings
                named = re.search(r"gunicorn|gevent|uwsgi|waitress", node.value)
                assert is_key or is_doc or not named, (name, node.value)
