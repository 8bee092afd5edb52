"""What can be wrong in what an app is told by proxies: whose request it is, and for which site."""

from __future__ import annotations

from urllib.parse import urlsplit

from .evidence import Facts
from .findings import Finding, Severity
from .site_probe import FORGED_ADDRESS, Visit


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
        )
        + (
            f" If what ends TLS can't add a header, as stunnel can't: WSHANDLER_ALLOWED_ORIGINS = "
            f"[{visit.address.origin!r}]."
            if is_scheme_lost
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


CHECKS = (
    host_lost,
    proxy_fix_missing,
    proxy_fix_numbers,
    forwarded_headers_missing,
    own_origin_refused,
)
