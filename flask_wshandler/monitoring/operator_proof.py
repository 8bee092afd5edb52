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

from flask import Flask

from ..runtime.private_paths import UnsafeDirectory
from ..runtime.run_directory import RunDirectory
from ..upgrade.app_state import state_of

HEADER = "X-WSHandler-Doctor"

_LIFETIME_S = 60
_PROOF = re.compile(r"(\d{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})?\.([0-9a-f]{64})?")
_KEY_BYTES = 32
_KEY = ".key"


@contextlib.contextmanager
def proof(app: Flask) -> Iterator[str]:
    """A header's value that proves, until the end of the block, that this process may ask."""
    number = os.urandom(16).hex()
    dated = f"{int(time.time())}.{number}"
    secret = _secret_of(app)
    by_secret = _signature(secret, dated) if secret else ""
    directory, name = _place(app, number)
    key = os.urandom(_KEY_BYTES)
    by_file = ""
    # Without a place for it the secret has to do.
    with contextlib.suppress(OSError, UnsafeDirectory):
        directory.write_beside(name, key)
        by_file = _signature(key, dated)
        _remove_left_over(directory)
    try:
        yield f"{dated}.{by_secret}.{by_file}"
    finally:
        directory.remove_beside(name)
        directory.remove_if_empty()


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


def _place(app: Flask, number: str) -> tuple[RunDirectory, str]:
    """Where a key is: beside the app's directory, in which every file is a process's socket."""
    directory = RunDirectory(state_of(app).name)
    return directory, f"{directory.name}.{number}{_KEY}"


def _remove_left_over(directory: RunDirectory) -> None:
    """Remove the keys of doctors that were killed. Raises OSError."""
    for path in directory.path.parent.glob(f"*{_KEY}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LIFETIME_S:
                path.unlink()


def _read(app: Flask, number: str) -> bytes | None:
    directory, name = _place(app, number)
    try:
        return directory.read_beside(name)
    except (OSError, UnsafeDirectory):
        return None
