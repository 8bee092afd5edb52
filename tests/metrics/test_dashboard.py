"""The dashboard asks for what there is: each expression, against a real scrape of real workers."""

import json
from pathlib import Path

from flask_wshandler.monitoring.metric_families import FAMILIES

from .queries import assert_can_be_asked, checked
from .scrape import with_everything

DASHBOARD = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "grafana-dashboard.json").read_text()
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}


def filled_in(expression, interval="1m"):
    """An expression as Grafana asks it, with everything chosen."""
    expression = expression.replace("$__rate_interval", interval)
    for name in VARIABLES:
        expression = expression.replace(f"${name}", ".*")
    return expression


def test_every_expression_asks_for_what_there_is(start):
    """By name and label, and parses."""
    now = with_everything(start("gthread", "--workers", "2"))
    for expression in EXPRESSIONS:
        assert_can_be_asked(filled_in(expression), now.labels_of)


def test_every_metric_is_shown():
    """None is collected in vain."""
    shown = set().union(*(checked(filled_in(expression))[0] for expression in EXPRESSIONS))
    for family in FAMILIES:
        names = {f"flask_wshandler_{family.name}{suffix}" for suffix in ("", "_total", "_bucket")}
        assert names & shown, family.name


def test_every_panel_asks_the_source_that_is_chosen():
    """And for the job, the server and the app that are."""
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["datasource"] == chosen
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"] == chosen
    for name in ("job", "instance", "app"):
        assert VARIABLES[name]["datasource"] == chosen
        metrics = [each for expression in EXPRESSIONS for each in checked(filled_in(expression))[0]]
        filters = sum(expression.count(f'{name}=~"${name}"') for expression in EXPRESSIONS)
        assert filters >= len(metrics)


def test_panels_have_places_of_their_own():
    """Twenty-four columns, no two panels over each other, every id once."""
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
