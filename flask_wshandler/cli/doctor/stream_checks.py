"""What can be wrong with streams over HTTP, which clients have where no WebSocket gets through."""

from __future__ import annotations

from .evidence import Facts
from .findings import Finding, Severity
from .stream_visit import Outcome, StreamVisit


def stream_held(facts: Facts) -> Finding | None:
    """Something on the way waits for a response to end."""
    stream = _stream(facts)
    if stream is None or stream.outcome is not Outcome.POLL:
        return None
    return Finding(
        "stream-held",
        Severity.WARNING,
        "A proxy holds back what the app streams: the beginning of a response that does not end "
        f"did not come ({stream.detail}), one that ends did. Where no WebSocket gets through, "
        "clients wait for 3 s, and then poll.",
        "In nginx: `proxy_buffering off;` in this location; or let the app's header "
        "`X-Accel-Buffering: no` through, which the inner one of two passes on with "
        "`proxy_pass_header X-Accel-Buffering;`. In Apache: `flushpackets=on` on the ProxyPass, "
        "and no mod_buffer. Nothing may compress text/event-stream.",
    )


def stream_lost(facts: Facts) -> Finding | None:
    """Neither a stream nor a poll comes."""
    stream = _stream(facts)
    if stream is None or stream.outcome is not Outcome.LOST:
        return None
    return Finding(
        "stream-lost",
        Severity.WARNING,
        "The app is reached, but a response over HTTP that stands for a WebSocket fails: "
        f"{stream.detail}. Where no WebSocket gets through, clients are not served.",
        "Have proxies and the app's `after_request` functions leave responses alone that have the "
        "header X-WSHandler. If nobody is to be served so: WSHANDLER_FALLBACK = False.",
    )


def stream_cut_off(facts: Facts) -> Finding | None:
    """Something on the way takes a silent response for a dead one."""
    stream = _stream(facts)
    if stream is None or stream.cut_off_after_s is None:
        return None
    interval_s = facts.setup["ping_interval"]
    pings = "there are no pings" if interval_s is None else f"pings come every {interval_s:g} s"
    return Finding(
        "stream-cut-off",
        Severity.WARNING,
        f"A silent stream over HTTP was cut off after {stream.cut_off_after_s:.1f} s; {pings} "
        "(WSHANDLER_PING_INTERVAL). Clients come back, each time.",
        "Have the proxy wait longer than that: in nginx `proxy_read_timeout 90s;`, in HAProxy "
        "`timeout server 90s`, in Apache `ProxyTimeout 90`. Or set WSHANDLER_PING_INTERVAL to less "
        "than it waits.",
    )


def no_http2(facts: Facts) -> Finding | None:
    """A browser opens few connections to a host over HTTP/1.1."""
    visit = facts.visit
    if visit is None or visit.has_http2 is not False or visit.is_direct:
        return None
    return Finding(
        "no-http2",
        Severity.NOTE,
        f"{visit.address} does not speak HTTP/2. Where no WebSocket gets through, a browser has "
        "six connections to it for all its tabs, and each stream keeps one: with six tabs nothing "
        "else is loaded.",
        "Let the proxy speak HTTP/2 to browsers, beside HTTP/1.1: in nginx `listen 443 ssl http2;`,"
        " in HAProxy `alpn h2,http/1.1` on the bind, in Apache `Protocols h2 http/1.1`.",
    )


def _stream(facts: Facts) -> StreamVisit | None:
    return None if facts.visit is None else facts.visit.stream


CHECKS = (stream_held, stream_lost, stream_cut_off, no_http2)
