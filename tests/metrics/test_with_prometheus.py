"""Prometheus itself, where it is installed (Debian's package `prometheus`, which starts a service).

Elsewhere these are not collected: see conftest.py. The dashboard and the alarms are held to a real
scrape by other tests, which need no more than a parser of PromQL.
"""

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from tests.docs.programs import Program
from tests.ports import free_port

from .scrape import with_everything
from .test_dashboard import EXPRESSIONS, filled_in

CONFIGURATION = """\
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: shop
    static_configs:
      - targets: ["{target}"]
"""


def test_prometheus_itself_answers_every_expression(start, tmp_path):
    """It scrapes, and each panel has a line."""
    server = start("gthread", "--workers", "2")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(target=server.host))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with_everything(server)
    with Program(command, port, tmp_path) as prometheus:

        def answers(expression):
            query = urllib.parse.urlencode({"query": expression})
            url = f"http://{prometheus.netloc}/api/v1/query?{query}"
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]["result"]

        for expression in EXPRESSIONS:
            server.wait_for(
                lambda expression=expression: answers(filled_in(expression)), expression, 30
            )


def test_prometheus_takes_the_alarms(tmp_path):
    """By its own check."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
    [rules] = [block for block in page.split("```") if block.startswith("yaml\ngroups:")]
    path = tmp_path / "rules.yml"
    path.write_text(rules.removeprefix("yaml\n"))
    done = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 rules found" in done.stdout
