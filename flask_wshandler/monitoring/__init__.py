"""What operators and scrapers are told: figures of one process and of all, answers, reports.

Knows neither Prometheus nor OpenTelemetry: see `flask_wshandler.prometheus` and
`flask_wshandler.otel`.
"""
