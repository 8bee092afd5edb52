"""docs/howto/apache.md holds what it says: with its site the chat works, and it needs each line."""

import re
import shutil
import ssl

import pytest

from flask_wshandler.settings import Settings

from .chat import DOCS, greeting, handshake_status
from .markdown_page import MarkdownPage
from .programs import apache, self_signed_certificate

PAGE = MarkdownPage(DOCS / "howto" / "apache.md")


@pytest.fixture
def executable() -> str:
    found = shutil.which("apache2", path="/usr/sbin:/sbin")
    return found or pytest.skip("apache2 is missing: apt install apache2")


class TestApache:
    [SITE] = PAGE.code("The site", "apache")
    [TUNNEL] = PAGE.code("Before 2.4.47", "apache")
    PASS = '    ProxyPass "/" "http://127.0.0.1:8000/" upgrade=websocket\n'

    def old_site(self):
        assert self.SITE.count(self.PASS) == 1
        return self.SITE.replace(self.PASS, self.TUNNEL)

    @pytest.mark.parametrize("is_old", [False, True])
    def test_lets_the_page_of_the_same_address_connect(
        self, executable, proxied_chat, tmp_path, is_old
    ):
        """On a port of its own, which the Host header has to bring along; foreign pages don't."""
        site = self.old_site() if is_old else self.SITE
        with apache(executable, site, proxied_chat, tmp_path) as front:
            said = greeting(f"ws://{front.netloc}", origin=f"http://{front.netloc}")
            assert said == "Ada has connected."
            assert handshake_status(front, origin=f"http://{proxied_chat.netloc}") == 403

    def test_ends_tls_for_the_app(self, executable, proxied_chat, tmp_path):
        """Pages of https: are the same origin, those of http: are not."""
        certificate, key = self_signed_certificate(tmp_path)
        tls = f"SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\n"
        site = self.SITE.replace("    ServerName", f"{tls}    ServerName")
        context = ssl.create_default_context(cafile=str(certificate))
        with apache(executable, site, proxied_chat, tmp_path) as front:
            said = greeting(f"wss://{front.netloc}", f"https://{front.netloc}", context)
            assert said == "Ada has connected."
            assert handshake_status(front, f"http://{front.netloc}", context) == 403

    @pytest.mark.parametrize(
        ("written", "status"),
        [
            pytest.param("ProxyPreserveHost On", 403, id="the Host is lost"),
            pytest.param(" upgrade=websocket", 426, id="no upgrade"),
        ],
    )
    def test_needs_every_line(self, executable, proxied_chat, tmp_path, written, status):
        """What the page says of a configuration without them."""
        assert self.SITE.count(written) == 1
        site = self.SITE.replace(written, "")
        with apache(executable, site, proxied_chat, tmp_path) as front:
            assert handshake_status(front, origin=f"http://{front.netloc}") == status

    def test_waits_longer_than_the_pings(self):
        """A connection at rest has a ping's traffic in every time-out."""
        [seconds] = re.findall(r"ProxyTimeout (\d+)", self.SITE)
        ping_interval = Settings().ping_interval
        assert ping_interval is not None
        assert int(seconds) > ping_interval
