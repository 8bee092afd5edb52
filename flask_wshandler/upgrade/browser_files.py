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

from flask import Flask, Response, abort, request

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
    """Route the files, below `/wshandler/`, unless `app` has something by that name already.

    They are routes of the app, not of a blueprint: the app may have one that is called `wshandler`.
    """
    if ENDPOINT in app.view_functions:
        return
    current, other = f"/wshandler/{_files().digest}/<filename>", "/wshandler/<digest>/<filename>"
    host = _host_of_static_files(app)
    app.add_url_rule(current, ENDPOINT, _serve_current, host=host)
    app.add_url_rule(other, _OTHERS_ENDPOINT, _serve_other, host=host)


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
