"""The fixtures that a user would have; the rest is the plugin's."""

import pytest

from .app import create_app


@pytest.fixture
def app():
    return create_app()


@pytest.fixture
def client(app):
    return app.test_client()
