"""The app of the servers under test behind the middleware that a request's header names."""

import gzip
import hashlib
import io
import itertools
import queue
import threading

from flask import Flask, Response, make_response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.lint import LintMiddleware
from werkzeug.middleware.profiler import ProfilerMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_wshandler import WebSockets, accept_websocket_request
from tests.live.app import Recorder, app, clients


def join(app):
    """Like many that look at a whole page."""

    def middleware(environ, start_response):
        body = app(environ, start_response)
        try:
            return [b"".join(body)]
        finally:
            getattr(body, "close", lambda: None)()

    return middleware


def listed(app):
    return lambda environ, start_response: list(app(environ, start_response))


def without_empty_chunks(app):
    return lambda environ, start_response: (c for c in app(environ, start_response) if c)


def prefetch(app):
    """Has the app begin before the server does."""

    def middleware(environ, start_response):
        chunks = iter(app(environ, start_response))
        first = next(chunks)
        return itertools.chain([first], chunks)

    return middleware


def lazy(app):
    """Calls the app when the server has begun to iterate."""

    def middleware(environ, start_response):
        yield from app(environ, start_response)

    return middleware


def with_length_and_etag(app):
    """Calls `start_response` when it has the whole body."""

    def middleware(environ, start_response):
        told = []

        def keep(status, headers, exc_info=None):
            told[:] = status, headers

        body = b"".join(app(environ, keep))
        status, headers = told
        etag = hashlib.sha256(body).hexdigest()
        start_response(status, [*headers, ("Content-Length", str(len(body))), ("ETag", etag)])
        return [body]

    return middleware


def compress(app):
    def middleware(environ, start_response):
        def start(status, headers, exc_info=None):
            added = [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
            return start_response(status, [*headers, *added], exc_info)

        body = b"".join(app(environ, start))
        return [gzip.compress(body)]

    return middleware


def headers_of_its_own(app):
    """Removes what is hop by hop, and says what it thinks of the connection."""

    def middleware(environ, start_response):
        def start(status, headers, *exc_info):
            kept = [each for each in headers if each[0] not in ("Connection", "Upgrade")]
            added = [("Connection", "close"), ("Content-Type", "text/html"), ("X-Own", "yes")]
            return start_response(status, kept + added, *exc_info)

        return app(environ, start)

    return middleware


def write_first(app):
    """Uses the `write` that `start_response` returns."""

    def middleware(environ, start_response):
        def start(status, headers, *exc_info):
            write = start_response(status, headers, *exc_info)
            write(b"")
            return write

        return app(environ, start)

    return middleware


def close_twice(app):
    def middleware(environ, start_response):
        body = app(environ, start_response)
        yield from body
        body.close()
        body.close()

    return middleware


def close_early(app):
    def middleware(environ, start_response):
        body = app(environ, start_response)
        body.close()
        return body

    return middleware


def only_closed(app):
    """Knows that a 101 has no body."""

    def middleware(environ, start_response):
        told = []

        def start(status, headers, *exc_info):
            told.append(status)
            return start_response(status, headers, *exc_info)

        body = app(environ, start)
        if not told[0].startswith("101"):
            return body
        body.close()
        return []

    return middleware


class _OnlyClosed:
    def __init__(self, body):
        self.close = body.close

    def __iter__(self):
        return iter(())


def closed_at_the_end(app):
    """Has a body of its own, and leaves the closing of the app's to the server."""
    return lambda environ, start_response: _OnlyClosed(app(environ, start_response))


def replaced_input(app):
    """Reads the body, and gives the app a copy."""

    def middleware(environ, start_response):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        return app(environ, start_response)

    return middleware


def copied_environ(app):
    return lambda environ, start_response: app(dict(environ), start_response)


def other_thread(app):
    """Gives up on an app that takes too long; this one has time."""

    def middleware(environ, start_response):
        answers = queue.SimpleQueue()

        def run():
            answers.put(app(environ, start_response))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return answers.get()

    return middleware


def answered_otherwise(app):
    """Denies what the app has accepted."""

    def middleware(environ, start_response):
        def start(status, headers, *exc_info):
            return start_response("403 FORBIDDEN", [("Content-Length", "0")], *exc_info)

        return app(environ, start)

    return middleware


def mounted(app):
    """Below another Flask app, whose view calls this one."""
    outer = Flask("outer")

    @outer.route("/<path:path>", websocket=True)
    def view(path):
        return Response.from_app(app, request.environ)

    WebSockets(outer)
    return outer


MIDDLEWARES = {
    "join": join,
    "list": listed,
    "without empty chunks": without_empty_chunks,
    "prefetch": prefetch,
    "lazy": lazy,
    "length and etag": with_length_and_etag,
    "gzip": compress,
    "headers": headers_of_its_own,
    "write first": write_first,
    "close twice": close_twice,
    "close early": close_early,
    "only closed": only_closed,
    "input": replaced_input,
    "environ": copied_environ,
    "other thread": other_thread,
    "mounted": mounted,
    "profiler": lambda app: ProfilerMiddleware(app, stream=io.StringIO()),
    "lint": LintMiddleware,
    "dispatcher": lambda app: DispatcherMiddleware(app, {"/elsewhere": app}),
    "proxy fix": ProxyFix,
}

NOT_ITERATING = {"closed at the end": closed_at_the_end}
WITH_REPLACED = {"answered otherwise": answered_otherwise}


class Chosen:
    """The middleware that a request asks for."""

    def __init__(self, app):
        self._plain = app
        wrappers = MIDDLEWARES | NOT_ITERATING | WITH_REPLACED
        self._wrapped = {name: wrap(app) for name, wrap in wrappers.items()}

    def __call__(self, environ, start_response):
        name = environ.get("HTTP_X_MIDDLEWARE")
        return self._wrapped.get(name, self._plain)(environ, start_response)


app.wsgi_app = Chosen(app.wsgi_app)


def clear(response):
    response.headers.clear()
    return response


def set_all(response):
    response.headers["Connection"] = "keep-alive"
    response.headers["Upgrade"] = "h2c"
    response.headers["Sec-WebSocket-Accept"] = "mine"
    response.headers["Content-Type"] = "application/json"
    response.headers["Content-Length"] = "2"
    response.headers["Transfer-Encoding"] = "chunked"
    return response


def copy(response):
    return Response(response.response, response.status)


def copy_with_headers(response):
    return Response(response.get_data(), response.status, response.headers)


def forced(response):
    class Own(Response):
        pass

    return Own.force_type(response)


def set_data(response):
    response.set_data("{}")
    return response


CHANGES = {f.__name__: f for f in (clear, set_all, copy, copy_with_headers, forced, set_data)}


def another_status(response):
    response.status_code = 403
    return response


def only_the_data(response):
    return make_response(response.get_data())


def broken(response):
    raise LookupError("in after_request")


DENIALS = {f.__name__: f for f in (another_status, only_the_data, broken)}


@app.after_request
def change(response):
    name = request.headers.get("X-Change")
    return (CHANGES | DENIALS)[name](response) if name else response


@app.route("/joined/<name>")
def joined(name):
    """A handler that is in a collection before it is open."""
    handler = Recorder(name)
    clients.add(handler)
    return accept_websocket_request(handler)


@app.get("/counts")
def counts():
    return {"members": len(clients), "seats": app.extensions["wshandler"].engine.capacity.taken}
