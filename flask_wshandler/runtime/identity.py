"""What things are called in all processes: an app, a process of it, a connection.

An app goes by the file of the module it is made in, as the system has it: without symbolic links,
and whatever name the module was imported by (`shop.web`, `src.shop.web`, `__main__`). A server
keeps the spelling that it was given, Flask's command line resolves it.

Releases that lie side by side are one app, for both have clients while the new one takes over:
those in `releases/<name>`, with a link `current` to one of them beside `releases`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def app_name(import_name: str, root_path: str) -> str:
    """The name of an app, as `Flask` was given it. To be asked when the app is made.

    Later a link may lead elsewhere. An app whose import name is no module's goes by it and its
    root path, which Flask takes from the current directory then.
    """
    file = getattr(sys.modules.get(import_name), "__file__", None)
    if file is None:
        return f"{import_name} in {_canonical(root_path)}"
    path = _canonical(file)
    return str(path.parent if path.stem == "__init__" else path.with_suffix(""))


def process_name() -> str:
    """A new name for this process: its host, its process id and a random number."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"


def new_connection_id() -> str:
    """A name that no other connection has in any process."""
    return os.urandom(8).hex()


def _canonical(spelling: str) -> Path:
    path = Path(os.path.realpath(spelling))
    for release in (path, *path.parents):
        releases = release.parent
        if releases.name == "releases":
            current = releases.parent / "current"
            target = Path(os.path.realpath(current))
            if target != current and target.parent == releases:
                return current / path.relative_to(release)
    return path
