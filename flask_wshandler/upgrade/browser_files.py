"""The JavaScript that pages load: its address, and what is answered there.

The address has a digest of all the files in it, above their names: a browser may keep a file for
ever, and files import each other by relative addresses. Whoever asks with another digest, because
the page is of another release's process, is given what there is, and may not keep it.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import importlib.resources
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, abort, request

from ..runtime import locks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ENDPOINT = "wshandler.static"
"""As `url_for` is asked: `url_for("wshandler.static", filename="client.js")`."""

_OTHERS_ENDPOINT = "wshandler.static_of_other_release"
_FOLDER = "browser"
_SUFFIX = ".js"
_DIGEST_LENGTH = 16
_KEEP_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"


@dataclasses.dataclass(frozen=True, slots=True)
class _Files:
    """What the folder has, and a digest of it."""

    contents: dict[str, bytes]
    compressed: dict[str, bytes]
    digest: str


@functools.cache
def _files() -> _Files:
    folder = importlib.resources.files(__package__.partition(".")[0]) / _FOLDER
    contents = {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(_SUFFIX)
    }
    compressed = {name: gzip.compress(content, mtime=0) for name, content in contents.items()}
    digest = hashlib.sha256(repr(contents).encode()).hexdigest()[:_DIGEST_LENGTH]
    return _Files(contents, compressed, digest)


def serve_browser_files(app: Flask) -> None:
    """Serve the files below `/wshandler/`, unless `app` has an endpoint by that name of its own.

    Their routes come when the first is needed, behind those of the app: an app that has answered
    requests may be given to `WebSockets`. They are no blueprint's: it may have a `wshandler`.
    """
    routes = _Routes(app)
    app.url_build_error_handlers.append(routes.url_of)  # type: ignore[arg-type]  # Flask takes None
    wsgi_app = app.wsgi_app

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not routes.are_there:
            routes.add()
        return wsgi_app(environ, start_response)

    app.wsgi_app = answer  # type: ignore[method-assign]  # where Flask wants its middlewares


class _Routes:
    """Those of one app. Any thread."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = locks.Lock()
        self.are_there = False

    def add(self) -> None:
        """Add them, if they are not there."""
        with self._lock:
            if not self.are_there and ENDPOINT not in self._app.view_functions:
                self._add(f"/wshandler/{_files().digest}/<filename>", ENDPOINT, _serve_current)
                self._add("/wshandler/<digest>/<filename>", _OTHERS_ENDPOINT, _serve_other)
            self.are_there = True

    def _add(self, path: str, endpoint: str, view: Callable[..., Response]) -> None:
        app = self._app
        rule = app.url_rule_class(
            path, endpoint=endpoint, methods={"GET", "OPTIONS"}, host=_host_of_static_files(app)
        )
        rule.provide_automatic_options = True  # type: ignore[attr-defined]  # Flask's
        app.url_map.add(rule)
        app.view_functions[endpoint] = view

    def url_of(self, error: Exception, endpoint: str, values: dict[str, Any]) -> str | None:
        """Flask has no rule for `endpoint`; the URL if it is ours."""
        del error
        if endpoint != ENDPOINT or self.are_there:
            return None
        self.add()
        return self._app.url_for(endpoint, **values)


def _host_of_static_files(app: Flask) -> str | None:
    """None, too, where the host makes no difference."""
    rules = app.url_map.iter_rules()
    return next((rule.host for rule in rules if rule.endpoint == "static"), None)


def _serve_current(filename: str) -> Response:
    return _response_with(filename, _KEEP_FOR_EVER)


def _serve_other(digest: str, filename: str) -> Response:
    del digest
    return _response_with(filename, _ASK_EACH_TIME)


def _response_with(filename: str, cache_control: str) -> Response:
    files = _files()
    if filename not in files.contents:
        abort(404)
    is_compressed = request.accept_encodings["gzip"] > 0
    contents = files.compressed if is_compressed else files.contents
    response = Response(contents[filename], mimetype="text/javascript")
    if is_compressed:
        response.content_encoding = "gzip"
    response.headers["Cache-Control"] = cache_control
    response.vary.add("Accept-Encoding")
    response.set_etag(f"{files.digest}-gzip" if is_compressed else files.digest)
    response.make_conditional(request)
    return response
