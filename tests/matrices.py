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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if is_left_out(item)]
    if left_out:
        items[:] = [item for item in items if not is_left_out(item)]
        config.hook.pytest_deselected(items=left_out)


def is_left_out(item):
    mark = item.get_closest_marker("matrix")
    if mark is None:
        return False
    kind = item.callspec.params["session_server"]
    return kind not in mark.kwargs.get("whole", WHOLE) and not is_chosen(item, kind, mark.args)


def is_chosen(item, kind, cases):
    return item.callspec.id in {case_of(kind, case) for case in cases}


def case_of(kind, case):
    return f"{kind}-{case}" if case else kind
