"""Apps as people write them: a page, a handler and a function beside what else they use.

Each file of `apps` is one. It has

    create_app()    the app
    promise(site)   optional: what the app's own pattern or extension promises, by `assert`

and, where the usual does not do: PAGE, HANDLER and FUNCTION (their paths), HEADERS and HOST (of
each request), ANSWER (to "hello"), ALONE (it changes more of its process than itself), LOGS_ERRORS
(it means to), FAILS (the issue and number that says why it does not work yet) and FAILS_UNDER (the
ways of serving where that is so). An app that needs other visits altogether has `visit(site)`.
"""

import importlib
import warnings
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S

from .site import Site

APPS = sorted(path.stem for path in (Path(__file__).parent / "apps").glob("[!_]*.py"))
#: What may depend on the server: what it gives and takes, its threads or greenlets. The others are
#: served by gthread only.
ELSEWHERE = [
    name
    for name in APPS
    if name.startswith(("middleware_", "report_"))
    or name
    in (
        "after_request_everything",
        "async_views",
        "background_thread",
        "before_request_reads_body",
        "context_variables",
        "custom_response",
        "flask_sock_beside",
        "flask_socketio",
        "server_sent_events",
        "sqlalchemy_scoped_session",
        "streaming",
        "thread_pool",
    )
]
#: How long one that is known to fail is waited for: most of them answer nothing.
FAILURE_S = 1


@pytest.mark.matrix(*ELSEWHERE)
@pytest.mark.parametrize("name", APPS)
def test_an_app_works_as_written(name, session_server, start, request):
    """Page, handler and function answer, the pattern holds, closes are clean, so is the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's packages
        app = importlib.import_module(f"tests.zoo.apps.{name}")
    kind = session_server.kind
    fails = kind in getattr(app, "FAILS_UNDER", [kind] if hasattr(app, "FAILS") else [])
    if fails:
        request.applymarker(pytest.mark.xfail(reason=app.FAILS, strict=True))
    server = start(kind) if getattr(app, "ALONE", False) else session_server
    host = getattr(app, "HOST", f"{name.replace('_', '-')}.zoo")
    site = Site(server, host, FAILURE_S if fails else DEADLINE_S)
    try:
        getattr(app, "visit", lambda site: visit(app, site))(site)
    finally:
        site.wait_for_the_end()
        print(site.log)
    assert getattr(app, "LOGS_ERRORS", False) or not site.trouble()


def visit(app, site):
    headers = getattr(app, "HEADERS", None)
    assert site.get(getattr(app, "PAGE", "/"), headers).status == 200
    for path in (getattr(app, "HANDLER", "/handler"), getattr(app, "FUNCTION", "/function")):
        assert site.ask(path, headers=headers) == getattr(app, "ANSWER", "hello")
    promise = getattr(app, "promise", None)
    if promise is not None:
        promise(site)
