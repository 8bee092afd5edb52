"""An app in this process, and servers for one test."""

import shutil

import pytest

from tests.live.serving import starting

from .small_app import create_app

if shutil.which("prometheus") is None or shutil.which("promtool") is None:
    collect_ignore = ["test_with_prometheus.py"]


@pytest.fixture
def app():
    return create_app()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def start(tmp_path):
    """Start a server of one's own: `start(kind, *arguments, WSHANDLER_…=…)`."""
    with starting(tmp_path, app="tests.metrics.app:app") as start:
        yield start
