"""PromQL of dashboards and alarms: what it asks for."""

import re

import promql_parser

_METRIC = re.compile(r"flask_wshandler_\w+")
_GROUPING = re.compile(r"\b(?:by|without) \(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
#: Of every target, by Prometheus itself.
GIVEN = {"job", "instance"}


def checked(expression):
    """The names of metrics and of labels in an expression, which is parsed as Prometheus does."""
    parsed = promql_parser.parse(expression).prettify()
    labels = {label.strip() for found in _GROUPING.findall(parsed) for label in found.split(",")}
    return set(_METRIC.findall(parsed)), labels | set(_MATCHER.findall(parsed))


def assert_can_be_asked(expression, labels_of):
    """Each metric is in `labels_of`, a dict of sets, and each label is one of theirs."""
    metrics, labels = checked(expression)
    assert metrics, expression
    for metric in metrics:
        assert metric in labels_of, (metric, expression)
    known = set.union(*(labels_of[metric] for metric in metrics)) | GIVEN
    assert labels <= known, (labels - known, expression)
