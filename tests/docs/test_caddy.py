"""docs/howto/caddy.md holds what it says: three lines are enough."""

import shutil
import ssl

import pytest

from .chat import DOCS, greeting, handshake_status
from .markdown_page import MarkdownPage
from .programs import caddy, self_signed_certificate

PAGE = MarkdownPage(DOCS / "howto" / "caddy.md")


@pytest.fixture
def executable() -> str:
    return shutil.which("caddy") or pytest.skip("caddy is missing: apt install caddy")


class TestCaddy:
    [SITE] = PAGE.code("The site", "caddyfile")

    def test_lets_the_page_of_the_same_address_connect(self, executable, proxied_chat, tmp_path):
        """On a port of its own; foreign pages don't."""
        with caddy(executable, self.SITE, "", proxied_chat, tmp_path) as front:
            said = greeting(f"ws://{front.netloc}", origin=f"http://{front.netloc}")
            assert said == "Ada has connected."
            assert handshake_status(front, origin=f"http://{proxied_chat.netloc}") == 403

    def test_ends_tls_for_the_app(self, executable, proxied_chat, tmp_path):
        """Pages of https: are the same origin, those of http: are not."""
        certificate, key = self_signed_certificate(tmp_path)
        context = ssl.create_default_context(cafile=str(certificate))
        tls = f"tls {certificate} {key}"
        with caddy(executable, self.SITE, tls, proxied_chat, tmp_path) as front:
            said = greeting(f"wss://{front.netloc}", f"https://{front.netloc}", context)
            assert said == "Ada has connected."
            assert handshake_status(front, f"http://{front.netloc}", context) == 403
