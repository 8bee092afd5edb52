"""What can be wrong between a browser and the app, as a visit to the running server has shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from ...room import RefusalReason
from .facts import Facts
from .findings import Finding, Severity
from .visit import FORGED_ADDRESS, Trouble, Visit


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
        Severity.ERROR,
        f"The proxy does not pass the upgrade on: {', '.join(lost)} of the request did not reach "
        "the app, which takes it for one of a page.",
        "In nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $connection_upgrade;` in this location.",
    )


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
        Severity.ERROR,
        f"The app is reached, but a WebSocket to it fails: {answer or 'no message came back'}.",
        "Look into the proxy's log. An `after_request` function or a middleware that replaces the "
        "response does this, too.",
    )


def host_lost(facts: Facts) -> Finding | None:
    """The app takes itself for another site, so its own pages are strangers."""
    visit = facts.visit
    page = None if visit is None else visit.page
    if visit is None or page is None:
        return None
    seen, wanted = _host_of(page["host"], visit), _host_of(visit.address.netloc, visit)
    if seen == wanted:
        return None
    how = ""
    if seen[0] == wanted[0]:
        is_lost = urlsplit(f"//{page['host']}").netloc == seen[0]
        how = ": the port is lost on the way" if is_lost else ": it is another port"
    return Finding(
        "host-lost",
        Severity.WARNING if page["is_origin_allowed"] else Severity.ERROR,
        f"The request was for {visit.address.netloc}, but the app is told {page['host']!r}{how}. "
        + _refused(visit),
        "Have the proxy pass on what the browser sent: in nginx `proxy_set_header Host "
        "$http_host;` ($host lacks the port).",
    )


def _host_of(netloc: str, visit: Visit) -> tuple[str | None, int]:
    parts = urlsplit(f"//{netloc}")
    default = 443 if visit.address.is_secure else 80
    try:
        return parts.hostname, parts.port or default
    except ValueError:
        return parts.hostname, default


def _refused(visit: Visit) -> str:
    page = visit.page
    if page is None or page["is_origin_allowed"]:
        return "What the app makes of its own address is wrong."
    return f"Pages of {visit.address.origin} are refused with 403, as those of another site."


def proxy_fix_missing(facts: Facts) -> Finding | None:
    """The proxy tells who the client is, and the app does not listen."""
    visit = facts.visit
    page = None if visit is None else visit.page
    if visit is None or page is None or not visit.is_proxied:
        return None
    is_scheme_wrong = page["scheme"] != visit.address.scheme
    is_proto_ignored = is_scheme_wrong and page["forwarded_proto"] == visit.address.scheme
    is_address_ignored = page["forwarded_for"] is not None and not page["has_proxy_fix"]
    if not is_proto_ignored and not is_address_ignored:
        return None
    what = (
        f"The app is behind a proxy and has no ProxyFix: every client seems to be "
        f"{page['peer_address'] or 'nobody'}, in the log and for WSHANDLER_MAX_CONNECTIONS_PER_IP."
        if is_address_ignored
        else "ProxyFix does not take X-Forwarded-Proto."
    )
    if is_proto_ignored:
        what += f" And it takes itself for {page['scheme']}:. {_refused(visit)}"
    return Finding(
        "proxy-fix-missing",
        Severity.ERROR if is_proto_ignored and not page["is_origin_allowed"] else Severity.WARNING,
        what,
        "`from werkzeug.middleware.proxy_fix import ProxyFix`, then `app.wsgi_app = "
        "ProxyFix(app.wsgi_app, x_for=1, x_proto=1)`; larger numbers for more proxies in a row.",
    )


def proxy_fix_numbers(facts: Facts) -> Finding | None:
    """ProxyFix takes the client's address from the wrong place."""
    visit = facts.visit
    if visit is None or visit.page is None or not visit.is_proxied:
        return None
    page = visit.page
    if visit.is_forgery_believed:
        return _forgery_believed(visit)
    addresses = _addresses(page["forwarded_for"])
    if not page["has_proxy_fix"] or not addresses or page["client_address"] == addresses[0]:
        return None
    return Finding(
        "proxy-fix-numbers",
        Severity.WARNING,
        f"ProxyFix takes the wrong address of X-Forwarded-For, {page['forwarded_for']!r}: every "
        f"client seems to be {page['client_address'] or 'nobody'}, in the log and for "
        "WSHANDLER_MAX_CONNECTIONS_PER_IP.",
        f"As many proxies as there are in a row have added one each: `x_for={len(addresses)}`.",
    )


def _forgery_believed(visit: Visit) -> Finding:
    upgrade = visit.upgrade
    addresses = [] if upgrade is None else _addresses(upgrade["forwarded_for"])
    added = addresses[::-1].index(FORGED_ADDRESS) if FORGED_ADDRESS in addresses else 0
    return Finding(
        "proxy-fix-numbers",
        Severity.ERROR,
        "The app believes what clients say of their address: the doctor has sent "
        f"`X-Forwarded-For: {FORGED_ADDRESS}`, and the app took it to come from there. So anybody "
        "gets around WSHANDLER_MAX_CONNECTIONS_PER_IP, and into the log with any address.",
        f"ProxyFix's x_for is more than there are proxies that add an address: `x_for={added}`."
        if added
        else "Have the proxy add the address that it sees, whatever the client has sent: in nginx "
        "`proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`, in HAProxy `option "
        "forwardfor` without `if-none`.",
    )


def _addresses(forwarded_for: str | None) -> list[str]:
    return [each.strip() for each in (forwarded_for or "").split(",") if each.strip()]


def forwarded_headers_missing(facts: Facts) -> Finding | None:
    """The proxy does not tell who the client is."""
    visit = facts.visit
    page = None if visit is None else visit.page
    if visit is None or page is None or not visit.is_proxied:
        return None
    is_scheme_lost = _is_scheme_lost(visit)
    what, headers = [], []
    if page["forwarded_for"] is None and not visit.is_forgery_believed:
        what.append(
            "The proxy does not tell the app X-Forwarded-For: every client seems to be "
            f"{page['peer_address'] or 'nobody'}, in the log and for "
            "WSHANDLER_MAX_CONNECTIONS_PER_IP."
        )
        headers.append("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
    if is_scheme_lost:
        what.append(_scheme_lost(visit, page["forwarded_proto"]))
        scheme = "$scheme" if page["forwarded_proto"] is None else "$http_x_forwarded_proto"
        headers.append(f"proxy_set_header X-Forwarded-Proto {scheme};")
    if not what:
        return None
    return Finding(
        "forwarded-headers-missing",
        Severity.ERROR if is_scheme_lost and not page["is_origin_allowed"] else Severity.WARNING,
        " ".join(what),
        f"In nginx: `{' '.join(headers)}`, and werkzeug's ProxyFix in the app."
        + (
            " The value with `$http_` is for the inner one of two proxies, which passes on what "
            "the outer one says."
            if is_scheme_lost and page["forwarded_proto"] is not None
            else ""
        ),
    )


def _is_scheme_lost(visit: Visit) -> bool:
    page, scheme = visit.page, visit.address.scheme
    return page is not None and scheme not in (page["scheme"], page["forwarded_proto"])


def _scheme_lost(visit: Visit, told: str | None) -> str:
    how = (
        "The proxy does not tell the app X-Forwarded-Proto"
        if told is None
        else f"The app is told wrongly: X-Forwarded-Proto is {told!r}"
    )
    return f"{how}, though the site is {visit.address.scheme}:. {_refused(visit)}"


def own_origin_refused(facts: Facts) -> Finding | None:
    """All is well on the way, but the setting leaves the site itself out."""
    visit = facts.visit
    page = None if visit is None else visit.page
    if visit is None or page is None or page["is_origin_allowed"] or visit.is_direct:
        return None
    if page["scheme"] != visit.address.scheme or host_lost(facts) is not None:
        return None  # that is why
    return Finding(
        "own-origin-refused",
        Severity.WARNING,
        f"WSHANDLER_ALLOWED_ORIGINS leaves out {visit.address.origin} itself: its own pages are "
        "refused with 403.",
        f"Add {visit.address.origin!r} to WSHANDLER_ALLOWED_ORIGINS, if there are such pages.",
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
    host_lost,
    proxy_fix_missing,
    proxy_fix_numbers,
    forwarded_headers_missing,
    own_origin_refused,
    not_on_the_bus,
)
