"""The headers that tell a browser to load and run nothing but this site's own files."""

from flask import Flask, Response, request


def init_app(app: Flask) -> None:
    """Put the headers on every response of `app`."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _content_security_policy(request.host)
    response.headers["X-Content-Type-Options"] = "nosniff"
    # The chat page has the visitor's name in its address.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _content_security_policy(host: str) -> str:
    # 'self' covers ws: and wss: by CSP level 3 only; older browsers want them named. Both,
    # because behind a proxy that ends TLS the scheme seen here is not the browser's.
    sockets = f"ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' {sockets}".rstrip(),
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
