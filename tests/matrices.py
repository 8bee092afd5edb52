"""Long tables of cases: whole on one kind of server, and some of them on each other kind.

What only the parser sees is the same behind every server: each byte of each case through it tells
nothing new the fourth time. So a test that has the session's servers and a table of cases says

    @pytest.mark.matrix("a case", "another")

and has these on every kind of server, and the others on gthread only. With
`whole=["gthread", "werkzeug"]` it has all on those. Of a test with several parameters a case is
written as in its name: "a-b".
"""

import pytest

WHOLE = ("gthread",)
#: Fixtures with a server of each kind, for many tests.
SERVERS = ("session_server", "module_server")


def pytest_addoption(parser):
    parser.addoption(
        "--kinds",
        help="only these of the servers that many tests share, with commas between them",
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
    if kind is None:
        return False
    if kinds and kind not in kinds:
        return True
    mark = item.get_closest_marker("matrix")
    return mark is not None and not (
        kind in mark.kwargs.get("whole", WHOLE) or is_chosen(item, kind, mark.args)
    )


def kind_of(item):
    """The kind of the server that a test shares with others, if it does."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return next((params[fixture] for fixture in SERVERS if fixture in params), None)


def is_chosen(item, kind, cases):
    return item.callspec.id in {f"{kind}-{case}" for case in cases}
