"""Long tables of cases: whole on one kind of server, and some of them on each other kind.

What only the parser sees is the same behind every server: each byte of each case through it tells
nothing new the fourth time. So a test that has the session's servers and a table of cases says

    @pytest.mark.matrix("a case", "another")

and has these on every kind of server, and the others on gthread only. With
`whole=["gthread", "werkzeug"]` it has all on those. Of a test with several parameters a case is
written as in its name: "a-b".
"""

import pytest

KINDS = {"sync", "gthread", "gevent", "tls", "werkzeug"}
WHOLE = ("gthread",)
#: Fixtures with a server of each kind, for many tests.
SERVERS = ("session_server", "module_server")


def pytest_addoption(parser):
    parser.addoption(
        "--kinds",
        help="only these of the servers that tests are repeated with, with commas between them",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    kinds = config.getoption("--kinds")
    left_out = [item for item in items if is_left_out(item, kinds and kinds.split(","))]
    if left_out:
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=left_out)


def is_left_out(item, kinds):
    kind = kind_of(item)
    if kinds and (kind or own_kind_of(item) or kinds[0]) not in kinds:
        return True
    mark = item.get_closest_marker("matrix")
    if kind is None or mark is None:
        return False
    return not (kind in mark.kwargs.get("whole", WHOLE) or is_chosen(item, kind, mark.args))


def kind_of(item):
    """The kind of the server that a test shares with others, if it does."""
    params = params_of(item)
    return next((params[fixture] for fixture in SERVERS if fixture in params), None)


def own_kind_of(item):
    """The kind of the server that a test starts for itself, if it is one of a test's several."""
    kind = params_of(item).get("kind")
    return kind if kind in KINDS else None


def params_of(item):
    return item.callspec.params if hasattr(item, "callspec") else {}


def is_chosen(item, kind, cases):
    return item.callspec.id in {f"{kind}-{case}" for case in cases}
