"""Where a Redis may be, and what an address may say of it."""

import ssl
import subprocess

import pytest
import redis

from flask_wshandler.bus import connect
from tests.deadlines import wait_for
from tests.ports import free_port

from .networks import Member, RedisNetwork, RedisServer

REFUSED = {
    "redis://host?decode_response=true": "decode_response is no option",
    "redis://host?protocol=4": "protocol of the address is '4'",
    "redis://host?decode_responses=maybe": "true or false",
    "redis://host?encoding=utf-7b": "the name of an encoding",
    "redis://host?encoding_errors=shrug": "error handler",
    "redis://host?socket_timeout=soon": "a number of seconds from 0.1",
    "redis://host?socket_timeout=0": "a number of seconds from 0.1",
    "redis://host?socket_timeout=nan": "a number of seconds from 0.1",
    "redis://host?socket_connect_timeout=-1": "a number of seconds from 0.1",
    "redis://host?health_check_interval=inf": "or 0",
    "redis://host?max_connections=1": "an integer from 2",
    "redis://host?db=": "an integer from 0",
    "redis://host?db=-1": "an integer from 0",
    "redis://host?db=1_0": "an integer from 0",
    "redis://host?db=1&db=2": "db of the address is there twice",
    "redis://host/1?db=2": "two databases, 1 and 2",
    "redis://host/one": "number of a database",
    "redis://host?client_name=my+app": "without spaces",
    "redis://host?ssl_cert_reqs=none": "ssl_cert_reqs of the address needs rediss://",
    "rediss://host?ssl_cert_reqs=perhaps": "none or optional or required",
    "rediss://host?ssl_cert_reqs=none&ssl_check_hostname=true": "needs another ssl_cert_reqs",
    "rediss://host?ssl_ca_certs=/nowhere/ca.pem": "a file that exists",
    "redis://host?sentinel_password=secret": "needs redis",
    "redis://host:65536": "host:port",
    "redis://host:port": "host:port",
    "redis://one,two": "host:port",
    "redis://:secret/word@host": "%2F",
    "redis://:1234/secret@host": "%2F",
    "redis://:1234?secret@host": "no option",
    "redis://:secret#word@host": "%23",
    "redis://host\n": "white space",
    "unix://run/redis.sock": "an absolute path",
    "unix://": "an absolute path",
    "redis+sentinel://host": "the name of a master",
    "redis+sentinel:///mymaster": "the name of a master",
    "redis+sentinel://host/mymaster/one": "number of a database",
    "redis+cluster://host": "begins with",
    "http://host": "a bus is",
}


@pytest.mark.parametrize("url", REFUSED)
def test_what_can_not_work_is_refused_at_the_start(url):
    """By what is wrong and what is allowed; a password is never shown."""
    with pytest.raises(ValueError) as caught:
        connect(url)
    assert REFUSED[url] in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class Place:
    """A network for `Member`."""

    def __init__(self, url):
        self.url = url
        self.environment = {}


def assert_carries(url, other_url=None):
    """What one process publishes, another hears."""
    alice, bob = Member(Place(url)), Member(Place(other_url or url))
    try:
        assert alice.subscribe("t")
        assert bob.subscribe("t")
        alice.say("t", "é")
        bob.wait_for_texts("t", ["é"])
        bob.say("t", "x" * 300_000)
        alice.wait_for_texts("t", ["x" * 300_000])
        assert alice.stats()["is_up"]
        assert alice.log == bob.log == ""
    finally:
        alice.end()
        bob.end()


WORKING = [
    "decode_responses=true&encoding=utf-16&encoding_errors=replace",
    "protocol=3",
    "socket_timeout=0.5&socket_connect_timeout=2&retry_on_timeout=yes",
    "health_check_interval=1&max_connections=10&socket_keepalive=false",
    "client_name=shop&username=default&password=secret&db=0",
]


@pytest.mark.parametrize("options", WORKING)
def test_an_option_that_is_taken_works(server, options):
    """Beside a process that has none."""
    with server.client() as client:
        client.config_set("requirepass", "secret")
    try:
        plain = f"redis://:secret@127.0.0.1:{server.port}/0"
        assert_carries(f"{plain}?{options}", plain)
    finally:
        with redis.Redis(port=server.port, password="secret") as client:
            client.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("password", "written"),
    [("p@ss:word", "p@ss:word"), ("a/b?c#d%e f", "a%2Fb%3Fc%23d%25e%20f"), ("ä", "%C3%A4")],
)
def test_a_password_may_have_any_characters(server, password, written):
    """Those that mean something in an address are percent-encoded."""
    with server.client() as client:
        client.acl_setuser("shop", enabled=True, reset=True, passwords=[f"+{password}"],
                           commands=["+@all"], channels=["*"])  # fmt: skip
    assert_carries(f"valkey://shop:{written}@127.0.0.1:{server.port}")


def test_databases_keep_apps_apart(server):
    """Though channels know none; also one that the server does not have."""
    zero, seven = (Member(Place(f"redis://127.0.0.1:{server.port}/{n}")) for n in (0, 1999))
    assert zero.subscribe("t")
    assert seven.subscribe("t")
    zero.say("t", "to nobody")
    seven.say("t", "to nobody")
    other = Member(Place(f"redis://127.0.0.1:{server.port}?db=1999"))
    other.say("t", "hello")
    seven.wait_for_texts("t", ["hello"])
    assert zero.count() == 0
    for member in (zero, seven, other):
        assert member.end() == ""


def test_a_unix_socket(tmp_path):
    """In the spellings of redis-py and Celery."""
    network = RedisNetwork(tmp_path)
    try:
        path = network._server.socket_path
        assert_carries(f"unix://{path}?db=0", f"redis+socket://{path}")
        assert_carries(network.url, f"unix://{path}")
        lost = Member(Place(f"unix://{path}.none"))
        lost.say("t", "to nobody")
        wait_for(lambda: not lost.stats()["is_up"], "sign of the loss")
        assert f"unix://{path}.none is down" in lost.end()
    finally:
        network.stop()


@pytest.fixture
def certified(tmp_path):
    """A Redis with TLS, whose certificate it has signed itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]  # noqa: RUF005
        + ["-nodes", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True,
        capture_output=True,
    )
    port = free_port()
    server = RedisServer(
        tmp_path, "--tls-port", str(port), "--tls-cert-file", tmp_path / "cert.pem",
        "--tls-key-file", tmp_path / "key.pem", "--tls-auth-clients", "no",
    )  # fmt: skip
    server.certificate = tmp_path / "cert.pem"
    server.tls_port = port
    yield server
    server.stop()


@pytest.mark.skipif(not ssl.HAS_TLSv1_2, reason="needs TLS")
def test_tls(certified):
    """A certificate of nobody's is an outage that says so; one that is named is taken."""
    place = f"rediss://localhost:{certified.tls_port}"
    assert_carries(f"{place}?ssl_ca_certs={certified.certificate}")
    assert_carries(f"{place}?ssl_cert_reqs=CERT_NONE")
    wary = Member(Place(place))
    wary.say("t", "to nobody")
    wait_for(lambda: not wary.stats()["is_up"], "sign of the refusal")
    assert "CERTIFICATE_VERIFY_FAILED" in wary.end()
