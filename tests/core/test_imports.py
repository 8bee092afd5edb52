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
#: From the ground up. A name is a folder's, or that of a module at the package's root.
FLOORS = (
    ("runtime", "protocol"),
    ("settings", "bus", "handlers"),
    ("transports", "history", "resume", "calls"),
    ("collections",),
    ("upgrade",),
    ("monitoring", "gateway"),
    ("extension", "cli", "client", "prometheus", "otel"),
    ("__init__", "testing"),
)
FLOOR_OF = {place: floor for floor, places in enumerate(FLOORS) for place in places}
WITHOUT_FLASK = {"runtime", "protocol", "bus", "transports", "history", "resume"}
HAVE_AN_API = {"__init__", "bus.__init__", "calls.__init__", "client.__init__", "testing.__init__"}


def place_of(name):
    """The folder of a module, or the module itself at the package's root."""
    return name.split(".")[0]


def imports_of(path):
    """(names of ours, names of others) that a module imports, wherever it does."""
    ours, others = set(), set()
    tree = ast.parse(path.read_text())
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = list(package[: len(package) - node.level + 1])
            module = [*base, *(node.module.split(".") if node.module else [])]
            for name in node.names:
                whole = ".".join([*module, name.name])
                known = whole if whole in MODULES else ".".join(module)
                ours.add(known if known in MODULES else f"{known}.__init__".lstrip("."))
        elif isinstance(node, ast.ImportFrom):
            others.add(node.module)
    return ours, others


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_folder_and_floors_below(name):
    """Wherever it does: at its head, in a function, or for its types."""
    place = place_of(name)
    above = {
        known
        for known in imports_of(MODULES[name])[0]
        if place_of(known) != place and FLOOR_OF[place_of(known)] >= FLOOR_OF[place]
    }
    assert not above


def test_no_module_imports_itself_by_way_of_others():
    """Inside a folder, too: what can't be read from the ground up is one module."""
    below = {name: imports_of(path)[0] - {name} for name, path in MODULES.items()}
    while ground := [name for name, known in below.items() if not known & below.keys()]:
        for name in ground:
            del below[name]
    assert not below


@pytest.mark.parametrize("name", [name for name in MODULES if place_of(name) in WITHOUT_FLASK])
def test_the_engine_runs_without_flask(name):
    """So do the protocol and the bus: another program may publish."""
    _, others = imports_of(MODULES[name])
    assert not {other.split(".")[0] for other in others} & {"flask", "werkzeug"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith("__init__")])
def test_a_folder_is_a_place_and_no_module(name):
    """What is public is imported by its address, all else from the module that has it."""
    assert name in HAVE_AN_API or not imports_of(MODULES[name])[0]


def test_the_root_can_be_read_at_a_glance():
    """A new capability is a folder. The marker for type checkers is nothing to read."""
    no_entries = ("__pycache__", "py.typed")
    entries = [path.name for path in PACKAGE.iterdir() if path.name not in no_entries]
    assert len(entries) <= 21, entries


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("testing.")])
def test_nobody_knows_what_is_for_tests(name):
    """Servers never import it."""
    known = imports_of(MODULES[name])[0]
    assert not [each for each in known if each.startswith("testing")]


@pytest.mark.parametrize("name", [name for name in MODULES if place_of(name) == "protocol"])
def test_the_protocol_does_no_io(name):
    """Sans-I/O: no socket, no poll, no time."""
    _, others = imports_of(MODULES[name])
    assert not others & {"socket", "select", "selectors", "ssl", "time", "os"}


def test_no_wait_depends_on_the_wall_clock():
    """It may be set back, or an hour ahead. Who asks it dates something, and waits for nothing."""
    uses = {name for name, path in MODULES.items() if "time.time(" in path.read_text()}
    # A file's age, a connection's date, a proof's, a message's age, the start of a test's time.
    assert uses == {
        "runtime.run_directory", "handlers.request_snapshot", "monitoring.operator_proof",
        "cli.doctor.history_look", "testing.app_under_test",
    }  # fmt: skip


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
                is_key = name == "handlers.request_snapshot" and "." in node.value
                is_doc = id(node) in docstrings
                named = re.search(r"gunicorn|gevent|uwsgi|waitress", node.value)
                assert is_key or is_doc or not named, (name, node.value)
