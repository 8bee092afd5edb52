"""One server for the apps of the zoo: each has a host of its own, as virtual hosts do.

An app is imported at its first request, so that a server that is asked for one app holds no other.
"""

import functools
import importlib
import threading

from flask import Flask

from flask_wshandler import WebSocketContext

_making = threading.Lock()


@functools.cache
def _made(name):
    return importlib.import_module(f"tests.zoo.apps.{name}").create_app()


def _app_of(host):
    """`www.host-matching.zoo` is of tests/zoo/apps/host_matching.py."""
    *_, label, _top = host.partition(":")[0].split(".")
    with _making:
        return _made(label.replace("-", "_"))


def dispatch(environ, start_response):
    host = environ.get("HTTP_HOST", "")
    answer = app
    if host.partition(":")[0].endswith(".zoo"):
        answer = _app_of(host)
        return answer(environ, start_response)
    return own_wsgi_app(environ, start_response)


app = Flask(__name__)  # what `flask run` takes
own_wsgi_app = app.wsgi_app
app.wsgi_app = dispatch


@app.get("/connections")
def connections():
    """How many WebSockets of all these apps are open."""
    return {"open": WebSocketContext.connection_count()}
