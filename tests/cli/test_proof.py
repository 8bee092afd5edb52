"""Only the operator is told: what the app answers to requests with a proof, and to others."""

import os
import time

import pytest
from flask import Flask

from flask_wshandler import WebSockets
from flask_wshandler.monitoring.operator_proof import HEADER, is_proven, proof
from flask_wshandler.monitoring.request_report import MEDIA_TYPE


@pytest.fixture
def make_app(runtime):
    def make(name="app", secret=None):
        app = Flask(name)
        app.config.update(WSHANDLER_BUS="none", SECRET_KEY=secret)
        WebSockets(app)
        app.before_request(lambda: "the app's own answer")
        return app

    return make


def ask(app, value):
    return app.test_client().get("/", headers={} if value is None else {HEADER: value})


@pytest.mark.parametrize("secret", [None, "secret", b"secret"])
def test_the_operator_gets_the_report(make_app, secret):
    """By the key in the run directory, with a SECRET_KEY or without; and as long as he is there."""
    app = make_app(secret=secret)
    with proof(app) as value:
        response = ask(app, value)
        assert response.mimetype == MEDIA_TYPE
        assert response.headers["Cache-Control"] == "no-store"
        assert response.json["host"] == "localhost"
        assert response.json["asks_for_upgrade"] is False
    by_file_only = value.rpartition(".")
    assert ask(app, f"{by_file_only[0].rpartition('.')[0]}..{by_file_only[2]}").text == (
        "the app's own answer"
    )


def test_a_secret_is_enough(make_app, monkeypatch, tmp_path):
    """Where the run directory is another."""
    app = make_app(secret="secret")
    with proof(app) as value:
        elsewhere = tmp_path / "r"
        elsewhere.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
        assert ask(app, value).mimetype == MEDIA_TYPE
        assert ask(make_app(secret="other"), value).text == "the app's own answer"


def test_strangers_are_answered_by_the_app(make_app):
    """Whatever they send for a proof."""
    app = make_app(secret="secret")
    with proof(app) as value:
        date, number, by_secret, by_file = value.split(".")
    zeros = "0" * 64
    for forged in (
        None,
        "",
        "x",
        f"{date}.{number}..",
        f"{date}.{number}.{zeros}.{zeros}",
        f"{int(date) - 1}.{number}.{by_secret}.{by_file}",
        f"{date}.{number[::-1]}.{by_secret}.{by_file}",
        f"{date}.../../etc/passwd.{by_secret}.{by_file}",
        "9" * 5000 + f".{number}.{by_secret}.{by_file}",
        f"{date}.{number}.{by_secret[:-1]}é.{by_file}",
    ):
        assert ask(app, forged).text == "the app's own answer", forged


def test_a_proof_holds_for_a_minute(make_app, monkeypatch):
    """What is read on the way is of no use later."""
    app = make_app(secret="secret")
    with proof(app) as value:
        assert is_proven(app, value)
        now_s = time.time()
        for seconds, holds in ((50, True), (70, False), (-70, False)):
            monkeypatch.setattr(time, "time", lambda seconds=seconds: now_s + seconds)
            assert is_proven(app, value) is holds


def test_keys_are_this_users_alone_and_go_with_their_proof(make_app, runtime):
    """Also those that a killed doctor has left."""
    app = make_app()
    directory = runtime / "flask-wshandler"
    with proof(app):
        [key] = directory.glob("*.key")
        assert key.stat().st_mode & 0o777 == 0o600
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()
    directory.mkdir(mode=0o700)
    key.write_bytes(b"left over")
    os.utime(key, (0, 0))
    with proof(app):
        assert not key.exists()


def test_apps_have_proofs_of_their_own(make_app):
    """One app's operator is another's stranger."""
    with proof(make_app("one")) as value:
        assert ask(make_app("two"), value).text == "the app's own answer"
