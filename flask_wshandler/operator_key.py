"""The proof that a request is the operator's: who can read what only the app's user can read.

A request is signed with the app's SECRET_KEY, and with a key that its sender has just written into
the run directory, which nobody but this user may enter; either will do. So `doctor` works for an
app without a SECRET_KEY on the same machine, and with one from anywhere. A signature holds for a
minute.

    <seconds since 1970>.<number>.<signature by the secret, or "">.<signature by the file, or "">

Invariant: without a right signature nothing is told, and no more than one file is looked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask

from .bus.run_directory import RunDirectory, UnsafeDirectory

HEADER = "X-WSHandler-Doctor"

_LIFETIME_S = 60
_PROOF = re.compile(r"(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})?\.([0-9a-f]{64})?")
_KEY_BYTES = 32


def name_of(app: Flask) -> str:
    """What tells this app from others on this machine."""
    # Many apps are called "app": the directory tells them apart.
    return f"{app.name} in {app.root_path}"


@contextlib.contextmanager
def proof(app: Flask) -> Iterator[str]:
    """A header's value that proves, until the end of the block, that this process may ask."""
    number = os.urandom(16).hex()
    dated = f"{int(time.time())}.{number}"
    path = _new_path(app, number)
    by_file = ""
    try:
        if path is not None:
            key = os.urandom(_KEY_BYTES)
            _write(path, key)
            by_file = _signature(key, dated)
        secret = _secret_of(app)
        by_secret = _signature(secret, dated) if secret else ""
        yield f"{dated}.{by_secret}.{by_file}"
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def is_proven(app: Flask, value: str) -> bool:
    """Whether a header's value is a proof that holds."""
    match = _PROOF.fullmatch(value)
    if match is None or abs(time.time() - int(match[1])) > _LIFETIME_S:
        return False
    dated = f"{match[1]}.{match[2]}"
    secret = _secret_of(app)
    return (secret is not None and _is_signed(secret, dated, match[3])) or _is_signed(
        _read(app, match[2]), dated, match[4]
    )


def _secret_of(app: Flask) -> bytes | None:
    secret = app.secret_key
    return (secret.encode() if isinstance(secret, str) else secret) or None


def _signature(key: bytes, dated: str) -> str:
    return hmac.new(key, f"flask-wshandler doctor {dated}".encode(), hashlib.sha256).hexdigest()


def _is_signed(key: bytes | None, dated: str, signature: str | None) -> bool:
    if key is None or not signature:
        return False
    return hmac.compare_digest(_signature(key, dated), signature)


def _path(app: Flask, number: str) -> tuple[RunDirectory, Path]:
    directory = RunDirectory(name_of(app))
    # Beside the app's directory: every file in that is taken for a process's socket.
    return directory, directory.path.with_name(f"{directory.path.name}.{number}.key")


def _new_path(app: Flask, number: str) -> Path | None:
    try:
        directory, path = _path(app, number)
        directory.make()
    except (OSError, UnsafeDirectory):
        return None  # the secret has to do
    for left_over in path.parent.glob("*.key"):
        with contextlib.suppress(OSError):
            if time.time() - left_over.stat().st_mtime > _LIFETIME_S:
                left_over.unlink()
    return path


def _write(path: Path, key: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)


def _read(app: Flask, number: str) -> bytes | None:
    try:
        directory, path = _path(app, number)
        directory.check()
        return path.read_bytes()
    except (OSError, UnsafeDirectory):
        return None
