"""Debian's Chromium without a window, for pages of tests.

Its shell is the same engine without what a person before it would need: a page in it takes less
than half of the processor time. Where there is none, the whole browser does.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
SHELL = Path("/usr/bin/chromium-headless-shell")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's, of which there can be one at a time in a process."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = SHELL if SHELL.exists() else whole_chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(executable), args=FLAGS)
        yield browser
        browser.close()


def whole_chromium() -> Path:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt install chromium")
    return CHROMIUM
