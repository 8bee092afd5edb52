"""What stays together in one process of pytest-xdist, and which tests begin first.

Tests that share a server or another fixture are one group: in several processes each would start a
server of its own. A group is handed to a process as a whole; those with the most tests first, or
one of them would run on alone at the end.

pytest-xdist's own `loadgroup` writes a group into the test's name, which pytest 9.2 ignores without
a word: each test would be a group. So the first process says in a file what it has found.
"""

import json
import tempfile
from pathlib import Path

import pytest

from .matrices import kind_of

#: What the processes are given by pytest-xdist is a dictionary; the file's path has this key there.
KEY = "groups_of_tests"
FOUND = pytest.StashKey[Path]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell a process, before it begins, where to say what it has found."""
    if FOUND not in node.config.stash:
        directory = tempfile.TemporaryDirectory(prefix="groups-")
        node.config.add_cleanup(directory.cleanup)
        node.config.stash[FOUND] = Path(directory.name) / "found.json"
    node.workerinput[KEY] = str(node.config.stash[FOUND])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session):
    """Say which test is in which group, before pytest-xdist says that the tests are found."""
    given = getattr(session.config, "workerinput", {})
    if given.get("workerid") == "gw0":
        groups = {item.nodeid: group_of(item) for item in session.items}
        Path(given[KEY]).write_text(json.dumps(groups), encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling  # there may be none

    class Groups(LoadScopeScheduling):
        def schedule(self):
            if self.collection is None:
                self._groups = json.loads(config.stash[FOUND].read_text(encoding="utf-8"))
            super().schedule()

        def _split_scope(self, nodeid):
            return self._groups[nodeid]

    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


def group_of(item):
    """Tests that are alone, that share a server, that share another fixture; else each its own."""
    if is_alone(item):
        return "alone"
    module = item.nodeid.partition("::")[0]
    folder = str(Path(module).parent)
    kind = kind_of(item)
    if kind:
        return f"{folder if 'session_server' in item.fixturenames else module}-{kind}"
    scopes = scopes_of(item)
    if scopes & {"package", "session"}:
        return folder
    return item.nodeid if scopes <= {"function"} else module


def is_alone(item):
    return item.get_closest_marker("alone") is not None


def scopes_of(item):
    """The scopes of the fixtures of a test that are ours; a plugin's have no place in the tree."""
    found = item._fixtureinfo.name2fixturedefs.values()  # pytest tells it nowhere else
    return {each[-1].scope for each in found if each[-1].baseid}
