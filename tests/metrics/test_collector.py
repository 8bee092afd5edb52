"""The collector in one process: several apps, names, and what is bounded."""

import gc
import os
import tempfile
import threading
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flask_wshandler import WebSocketHandler, WebSockets
from flask_wshandler.monitoring.callback_histogram import MOST_HANDLERS, OTHERS
from flask_wshandler.monitoring.metric_families import FAMILIES
from flask_wshandler.prometheus import PrometheusMetrics, collector
from flask_wshandler.testing import worker_of
from tests.deadlines import DEADLINE_S

from .scrape import Scrape
from .small_app import create_app

COUNT = "flask_wshandler_callback_seconds_count"


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    """Where processes find each other."""
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory)


@pytest.fixture
def registry():
    return CollectorRegistry(auto_describe=True)


def scraped(registry):
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return Scrape(tuple(sample for family in families for sample in family.samples))


def named_app(name):
    app = Flask(name, root_path="/")
    app.config.update(TESTING=True)
    sockets = WebSockets(app)

    @sockets.route("/echo")
    class Echo(WebSocketHandler):
        def on_message(self, message):
            self.send(message)

    return app


def test_several_apps_are_told_apart(registry):
    """By a label; one object measures them all, or one each."""
    metrics = PrometheusMetrics(registry=registry)
    apps = [named_app("one"), named_app("two")]
    for app in apps:
        metrics.init_app(app)
    PrometheusMetrics(named_app("three"), registry=registry)
    with apps[0].test_client().websocket_connect("/echo"):
        now = scraped(registry)
    assert now.value("flask_wshandler_accepted_total", app="one") == 1
    assert now.value("flask_wshandler_accepted_total", app="two") == 0


def test_two_objects_of_one_app_are_one(registry):
    """As an app factory makes them, in tests at the latest: no sample comes twice."""
    apps = [create_app(), create_app()]
    for app in apps:
        PrometheusMetrics(app, registry=registry)
    with apps[1].test_client().websocket_connect("/echo"):
        samples = [
            each for each in scraped(registry).samples if each.name.endswith("accepted_total")
        ]
    assert len({tuple(each.labels.items()) for each in samples}) == len(samples)


def test_an_app_that_is_gone_is_not_collected(registry):
    """Tests make one app after the other, and none leaves a thread."""
    before = set(threading.enumerate())
    app = named_app("gone")
    PrometheusMetrics(app, registry=registry)
    app.test_client().websocket_connect("/echo").close()
    assert scraped(registry).value("flask_wshandler_accepted_total", app="gone") == 1
    started = set(threading.enumerate()) - before
    [answering] = [thread for thread in started if thread.name == "wshandler-figures"]
    worker_of(app).close()
    del app
    gc.collect()
    assert "gone" not in scraped(registry).labels("flask_wshandler_connections", "app")
    answering.join(DEADLINE_S)
    assert not answering.is_alive()


def test_without_a_directory_a_process_tells_its_own(registry, monkeypatch, caplog):
    """One that others may enter is not used; said once."""
    os.chmod(os.environ["XDG_RUNTIME_DIR"], 0o700)
    top = Path(os.environ["XDG_RUNTIME_DIR"]) / "flask-wshandler"
    top.mkdir()
    top.chmod(0o755)
    app = Flask("alone", root_path="/")
    app.config.update(TESTING=True)
    WebSockets(app).route("/ws")(type("Silent", (WebSocketHandler,), {}))
    PrometheusMetrics(app, registry=registry)
    with app.test_client().websocket_connect("/ws"):
        for _ in range(2):
            assert scraped(registry).value("flask_wshandler_connections", app="alone") == 1
    assert len([each for each in caplog.records if "mode 0755" in each.getMessage()]) == 1


def test_the_order_does_not_matter(registry):
    """Metrics first, WebSockets later."""
    app = Flask("late", root_path="/")
    app.config.update(TESTING=True)
    PrometheusMetrics(app, registry=registry)
    WebSockets(app).route("/ws")(type("Silent", (WebSocketHandler,), {}))
    with app.test_client().websocket_connect("/ws"):
        assert scraped(registry).value("flask_wshandler_connections", app="late") == 1


def test_every_family_is_described(registry):
    """So that a registry refuses a second one of the same name."""
    names = {metric.name for metric in collector.describe()}
    assert names == {f"flask_wshandler_{family.name}" for family in FAMILIES}
    PrometheusMetrics(create_app(), registry=registry)
    with pytest.raises(ValueError, match="flask_wshandler_connections"):
        registry.register(collector)


def test_handlers_are_bounded(registry):
    """Classes that are made as the app runs fill neither memory nor database."""
    app = Flask("many", root_path="/")
    app.config.update(TESTING=True)
    sockets = WebSockets(app)
    PrometheusMetrics(app, registry=registry)
    client = app.test_client()
    for index in range(MOST_HANDLERS + 5):
        sockets.route(f"/{index}")(type(f"Made{index}", (WebSocketHandler,), {}))
    for index in range(MOST_HANDLERS + 5):
        client.websocket_connect(f"/{index}").close()
    now = scraped(registry)
    handlers = {
        each.labels["handler"]
        for each in now.samples
        if each.labels.get("app") == "many" and each.name == COUNT
    }
    assert len(handlers) == MOST_HANDLERS + 1
    assert now.value(COUNT, handler=OTHERS, callback="on_open") == 5


def test_histograms_are_cumulative(registry):
    """As Prometheus wants them: each range has all that are shorter, the last one all."""
    app = named_app("timed")
    PrometheusMetrics(app, registry=registry)
    with app.test_client().websocket_connect("/echo") as ws:
        for _ in range(10):
            ws.send("x")
        ws.receive_all()
    now = scraped(registry)
    buckets = [
        sample.value
        for sample in now.samples
        if sample.name == "flask_wshandler_callback_seconds_bucket"
        and sample.labels["callback"] == "on_message"
        and sample.labels["app"] == "timed"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == now.value(COUNT, app="timed", callback="on_message")
    assert buckets[-1] == 10
    assert 0 < now.value("flask_wshandler_callback_seconds_sum") < 5


def test_a_path_of_ones_own(registry):
    """The app serves the registry there, by the app's own rules."""
    app = create_app()
    PrometheusMetrics(app, path="/figures", registry=registry)
    response = app.test_client().get("/figures")
    assert response.status_code == 200
    assert "flask_wshandler_connections" in response.text
    assert app.test_client().get("/metrics").status_code == 404
