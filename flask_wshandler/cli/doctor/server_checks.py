"""What can be wrong with a server and the way of a handshake, as a visit has shown."""

from __future__ import annotations

from ...transports.capacity import RefusalReason
from .evidence import Facts
from .findings import Finding, Severity
from .site_probe import Trouble
from .stream_visit import Outcome


def unreachable(facts: Facts) -> Finding | None:
    """Nobody answers."""
    return _of_trouble(
        facts,
        Trouble.UNREACHABLE,
        "server-unreachable",
        "{address} does not answer: {detail}.",
        "Start the server, or correct the address after --url.",
    )


def wrong_scheme(facts: Facts) -> Finding | None:
    """The address begins with the other of http and https."""
    return _of_trouble(
        facts,
        Trouble.WRONG_SCHEME,
        "wrong-scheme",
        "{address} does not answer, but a server for {detail}: does at this port.",
        "Give the address with https: where TLS is spoken, and with http: where it is not. Pages "
        "take wss: and ws: by the same rule.",
    )


def certificate(facts: Facts) -> Finding | None:
    """A browser would not even ask."""
    return _of_trouble(
        facts,
        Trouble.CERTIFICATE,
        "certificate-refused",
        "The certificate of {address} is not accepted: {detail}. A browser opens no WebSocket to "
        "it, and asks nobody.",
        "Install a valid certificate with its whole chain. To look behind one that you have signed "
        "yourself: --insecure.",
    )


def http2_only(facts: Facts) -> Finding | None:
    """A WebSocket begins with HTTP/1.1."""
    return _of_trouble(
        facts,
        Trouble.HTTP2_ONLY,
        "http2-only",
        "{address} speaks HTTP/2 only. A WebSocket begins with an HTTP/1.1 request.",
        "Let the proxy take HTTP/1.1 beside HTTP/2 on this address: browsers then use it for "
        "WebSockets by themselves. In nginx, HTTP/2 belongs on a `listen … ssl`.",
    )


def redirected(facts: Facts) -> Finding | None:
    """A WebSocket follows no redirect."""
    return _of_trouble(
        facts,
        Trouble.REDIRECTED,
        "redirected",
        "{address} redirects to {detail}. A browser's WebSocket follows no redirect.",
        "Have the pages connect to that address, and give it after --url.",
    )


def bad_gateway(facts: Facts) -> Finding | None:
    """The proxy has nobody behind it."""
    return _of_trouble(
        facts,
        Trouble.GATEWAY,
        "bad-gateway",
        "{address} answers {detail}: there is a proxy, and no app behind it that answers.",
        "Start gunicorn, and see to it that the proxy has its address: nginx's proxy_pass is "
        "gunicorn's --bind.",
    )


def password_required(facts: Facts) -> Finding | None:
    """Something before the app asks who comes."""
    return _of_trouble(
        facts,
        Trouble.UNAUTHORIZED,
        "password-required",
        "{address} answers {detail}: something before the app asks for a name and a password.",
        "Give both with the address, https://name:password@…; what is no letter or digit in them "
        "as in any URL, by %.",
    )


def not_this_app(facts: Facts) -> Finding | None:
    """Something else, or an app that does not know the proof."""
    return _of_trouble(
        facts,
        Trouble.STRANGER,
        "not-this-app",
        "{address} answers {detail}, but not as this app does when it is asked by its operator.",
        "Give the address of this app. If it is: run the doctor as the server's user with the same "
        "XDG_RUNTIME_DIR, or give both the same SECRET_KEY, from a file or the environment.",
    )


def _of_trouble(facts: Facts, trouble: Trouble, id: str, what: str, remedy: str) -> Finding | None:
    visit = facts.visit
    if visit is None or visit.trouble is not trouble:
        return None
    what = what.format(address=visit.address, detail=visit.detail)
    return Finding(id, Severity.ERROR, what, remedy)


def socket_kept(facts: Facts) -> Finding | None:
    """The server gives its sockets to nobody."""
    page = None if facts.visit is None else facts.visit.page
    if page is None or not page["socket_obstacle"]:
        return None
    return Finding(
        "socket-kept",
        Severity.ERROR,
        f"There can be no WebSockets here: {page['socket_obstacle']}.",
        "Run the app by gunicorn, with --threads: `gunicorn --threads 4 module:app`.",
    )


def no_upgrade_headers(facts: Facts) -> Finding | None:
    """The proxy keeps to itself that a WebSocket is wanted."""
    upgrade = None if facts.visit is None else facts.visit.upgrade
    if upgrade is None or upgrade["asks_for_upgrade"]:
        return None
    lost = [
        f"{name}: {sent}"
        for name, sent, came in (
            ("Upgrade", "websocket", upgrade["upgrade"]),
            ("Connection", "Upgrade", upgrade["connection"]),
        )
        if sent.lower() not in (came or "").lower()
    ]
    if upgrade["protocol"] != "HTTP/1.1":
        lost.append(f"HTTP/1.1 (it is {upgrade['protocol']})")
    return Finding(
        "no-upgrade-headers",
        _severity_without_websockets(facts),
        f"The proxy does not pass the upgrade on: {', '.join(lost)} of the request did not reach "
        f"the app, which takes it for one of a page.{_who_goes_on(facts)}",
        "In nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $connection_upgrade;` in this location.",
    )


def _severity_without_websockets(facts: Facts) -> Severity:
    stream = None if facts.visit is None else facts.visit.stream
    return Severity.WARNING if stream is not None and stream.is_served else Severity.ERROR


def _who_goes_on(facts: Facts) -> str:
    """Of clients that have no WebSocket."""
    stream = None if facts.visit is None else facts.visit.stream
    if stream is None or not stream.is_served:
        return ""
    how = "streams" if stream.outcome is Outcome.STREAM else "polls"
    return f" Clients by this package's client.js go on over HTTP, by {how}; others do not."


def handshake_refused(facts: Facts) -> Finding | None:
    """A valid handshake has arrived, and there was no room."""
    upgrade = None if facts.visit is None else facts.visit.upgrade
    if upgrade is None or not upgrade["refusal"]:
        return None
    return Finding(
        "handshake-refused",
        Severity.ERROR,
        f"The app refuses valid handshakes at the moment, with {upgrade['refusal'].rstrip('.')}.",
        _OF_REFUSALS.get(upgrade["refusal_reason"], _OF_INVALID),
    )


_OF_REFUSALS = {
    RefusalReason.FULL.value: "More workers, or a higher WSHANDLER_MAX_CONNECTIONS, and a limit of "
    "open files that is above it.",
    RefusalReason.ADDRESS.value: "A higher WSHANDLER_MAX_CONNECTIONS_PER_IP; and ProxyFix if all "
    "clients seem to have one address.",
    RefusalReason.STOPPING.value: "Ask again when the server has started. If it is always so, its "
    "workers hardly live: raise gunicorn's `--max-requests`.",
    RefusalReason.SERVER.value: 'Set WSHANDLER_TRANSPORT to "auto": then each client has a thread '
    "or greenlet of the server's. Or have the server let its sockets go: gunicorn's gthread "
    "workers, with TLS in a proxy before them.",
}
_OF_INVALID = "Something on the way changes the handshake: have the proxy pass on all headers."


def upgrade_lost(facts: Facts) -> Finding | None:
    """The handshake arrives, but no WebSocket comes of it."""
    visit = facts.visit
    if visit is None or visit.page is None or visit.page["socket_obstacle"] or visit.has_exchanged:
        return None
    if visit.upgrade is not None and visit.upgrade_status != 101:
        return None  # the app has said why
    answer = f"an answer of {visit.upgrade_status}" if visit.upgrade_status else visit.detail
    return Finding(
        "upgrade-lost",
        _severity_without_websockets(facts),
        f"The app is reached, but a WebSocket to it fails: {answer or 'no message came back'}."
        + _who_goes_on(facts),
        "Look into the proxy's log. An `after_request` function or a middleware that replaces the "
        "response does this, too.",
    )


def idle_cut_off(facts: Facts) -> Finding | None:
    """Something on the way takes a silent connection for a dead one."""
    visit = facts.visit
    if visit is None or visit.cut_off_after_s is None:
        return None
    interval_s = facts.setup["ping_interval"]
    pings = "there are no pings" if interval_s is None else f"pings come every {interval_s:g} s"
    return Finding(
        "idle-cut-off",
        Severity.ERROR,
        f"A silent WebSocket was cut off after {visit.cut_off_after_s:.1f} s, without a close; "
        f"{pings} (WSHANDLER_PING_INTERVAL).",
        "Have the proxy wait longer than that: in nginx `proxy_read_timeout 90s;`, in HAProxy "
        "`timeout tunnel`. Or set WSHANDLER_PING_INTERVAL to less than it waits.",
    )


def not_on_the_bus(facts: Facts) -> Finding | None:
    """Commands and other processes of this user reach the server's clients in no way."""
    if facts.is_visited_on_bus is not False:
        return None
    return Finding(
        "not-on-the-bus",
        Severity.WARNING,
        "The server answers, but its worker is not found on the bus from here: `flask shell`, "
        "scripts and `flask websockets list` reach none of its clients.",
        "Run commands as the server's user, with the same XDG_RUNTIME_DIR and WSHANDLER_BUS_NAME; "
        "without PrivateTmp or in one container. Or use Redis.",
    )


CHECKS = (
    unreachable,
    wrong_scheme,
    certificate,
    http2_only,
    redirected,
    bad_gateway,
    password_required,
    not_this_app,
    socket_kept,
    no_upgrade_headers,
    handshake_refused,
    upgrade_lost,
    idle_cut_off,
    not_on_the_bus,
)
