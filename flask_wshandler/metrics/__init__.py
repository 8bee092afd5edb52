"""Figures of an app's WebSockets: what there is, and its sum over processes, for whatever shows it.

Knows neither Prometheus nor OpenTelemetry: see `flask_wshandler.prometheus` and
`flask_wshandler.otel`.
"""
