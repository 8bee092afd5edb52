"""docs/howto/nginx.md holds what it says: with its site the chat works, and it needs each line."""

import re
import shutil
import ssl

import pytest

from flask_wshandler.settings import Settings

from .chat import NGINX_PAGE, greeting, handshake_status
from .programs import nginx, self_signed_certificate


@pytest.fixture
def nginx_executable() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    return found or pytest.skip("nginx is missing: apt install nginx")


class TestNginx:
    [SITES] = NGINX_PAGE.code("The site", "nginx")

    def test_lets_the_page_of_the_same_address_connect(
        self, nginx_executable, proxied_chat, tmp_path
    ):
        """On a port of its own, which the Host header has to bring along."""
        with nginx(nginx_executable, self.SITES, "", proxied_chat, tmp_path) as front:
            said = greeting(f"ws://{front.netloc}", origin=f"http://{front.netloc}")
            assert said == "Ada has connected."

    def test_leaves_foreign_pages_refused(self, nginx_executable, proxied_chat, tmp_path):
        """Neither another host nor another port nor the address behind the proxy is the same."""
        with nginx(nginx_executable, self.SITES, "", proxied_chat, tmp_path) as front:
            for origin in ("elsewhere.example", "127.0.0.1", proxied_chat.netloc):
                assert handshake_status(front, origin=f"http://{origin}") == 403

    def test_ends_tls_for_the_app(self, nginx_executable, proxied_chat, tmp_path):
        """Pages of https: are the same origin, those of http: are not."""
        certificate, key = self_signed_certificate(tmp_path)
        listen = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
        context = ssl.create_default_context(cafile=str(certificate))
        with nginx(nginx_executable, self.SITES, listen, proxied_chat, tmp_path) as front:
            said = greeting(f"wss://{front.netloc}", f"https://{front.netloc}", context)
            assert said == "Ada has connected."
            assert handshake_status(front, f"http://{front.netloc}", context) == 403

    @pytest.mark.parametrize(
        ("written", "instead", "status"),
        [
            pytest.param("$http_host", "$host", 403, id="the port is lost"),
            pytest.param("proxy_http_version 1.1;", "", 426, id="HTTP 1.0"),
            pytest.param("$http_upgrade;", "'';", 426, id="no Upgrade header"),
        ],
    )
    def test_needs_every_line(
        self, nginx_executable, proxied_chat, tmp_path, written, instead, status
    ):
        """What the page says of a configuration without them."""
        assert self.SITES.count(written) == 1
        sites = self.SITES.replace(written, instead)
        with nginx(nginx_executable, sites, "", proxied_chat, tmp_path) as front:
            assert handshake_status(front, origin=f"http://{front.netloc}") == status

    def test_waits_longer_than_the_pings(self):
        """A connection at rest has a ping's traffic in every read time-out."""
        [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", self.SITES)
        ping_interval = Settings().ping_interval
        assert ping_interval is not None
        assert int(seconds) > ping_interval
