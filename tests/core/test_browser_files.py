"""The JavaScript of the package, as an app serves it."""

import gzip
import re

import pytest
from flask import Blueprint, Flask, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import BuildError
from werkzeug.test import Client, EnvironBuilder

from flask_wshandler import WebSockets
from flask_wshandler.upgrade import browser_files

SOURCE = browser_files._files().contents["client.js"]
LARGEST_SERVED = {"client.js": 5_500, "fallback.js": 2_500}


@pytest.fixture
def app():
    app = Flask(__name__)
    WebSockets(app)
    return app


@pytest.fixture
def client(app):
    return app.test_client()


def url_in(app, **environ):
    """The address, as a template writes it."""
    with app.test_request_context(**environ):
        return url_for("wshandler.static", filename="client.js")


@pytest.fixture
def url(app):
    return url_in(app)


def test_the_address_has_a_digest_above_the_name(url):
    """So files import each other by relative addresses."""
    assert re.fullmatch(r"/wshandler/[0-9a-f]{16}/client\.js", url)


def test_it_is_a_script_to_be_kept_for_ever(client, url):
    """Browsers take modules of this type only."""
    response = client.get(url)
    assert (response.status_code, response.data) == (200, SOURCE)
    assert response.content_type == "text/javascript; charset=utf-8"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    ("accepted", "is_compressed"), [("gzip, br", True), ("gzip;q=0", False), ("identity", False)]
)
def test_it_is_compressed_for_whoever_takes_that(client, url, accepted, is_compressed):
    """Each has an ETag of its own."""
    response = client.get(url, headers={"Accept-Encoding": accepted})
    assert (response.headers.get("Content-Encoding") == "gzip") is is_compressed
    body = gzip.decompress(response.data) if is_compressed else response.data
    assert body == SOURCE
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["ETag"].endswith('-gzip"') is is_compressed


@pytest.mark.parametrize("name", LARGEST_SERVED)
def test_it_is_small(client, url, name):
    """As it is served, with its comments. What is rarely needed is apart."""
    address = url.replace("client.js", name)
    response = client.get(address, headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 200
    assert len(response.data) <= LARGEST_SERVED[name]


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_who_has_it_is_told_so(client, url, accepted):
    """By the ETag of what was accepted."""
    headers = {"Accept-Encoding": accepted}
    etag = client.get(url, headers=headers).headers["ETag"]
    response = client.get(url, headers=headers | {"If-None-Match": etag})
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["Cache-Control"].endswith("immutable")


def test_head_has_no_body(client, url):
    """And the same headers."""
    head, get = client.head(url), client.get(url)
    assert (head.status_code, head.data) == (200, b"")
    for response in (head, get):
        del response.headers["Date"]  # a second may have begun
    assert head.headers == get.headers


@pytest.mark.parametrize(
    "name", ["other.js", "client.d.ts", "../upgrade/accept.py", "..%2fextension.py", ""]
)
def test_nothing_else_is_served(client, url, name):
    """Only the scripts."""
    assert client.get(url.replace("client.js", name)).status_code == 404


def test_another_releases_address_is_answered_and_not_kept(client, url):
    """While a deploy goes on, pages of either release may ask processes of the other."""
    other = re.sub("[0-9a-f]{16}", "0" * 16, url)
    response = client.get(other)
    assert (response.status_code, response.data) == (200, SOURCE)
    assert response.headers["Cache-Control"] == "no-cache"


def test_the_address_has_the_prefix_of_the_app():
    """SCRIPT_NAME at a request, APPLICATION_ROOT without one."""
    app = Flask(__name__, static_url_path="/assets")
    app.config.update(SERVER_NAME="example.org", APPLICATION_ROOT="/root")
    WebSockets(app)
    mounted = DispatcherMiddleware(Flask("front"), {"/mounted": app})
    environ = EnvironBuilder("/mounted/", "http://example.org").get_environ()
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/mounted", "/"
    with app.request_context(environ):
        address = url_for("wshandler.static", filename="client.js")
    assert address.startswith("/mounted/wshandler/")
    assert Client(mounted).get(address, base_url="http://example.org").data == SOURCE
    with app.app_context():
        assert url_for("wshandler.static", filename="client.js").startswith(
            "http://example.org/root/wshandler/"
        )


def test_among_several_hosts_it_is_where_the_static_files_are():
    """Flask has a name for that one only."""
    app = Flask(__name__, host_matching=True, static_host="static.example.org")
    WebSockets(app)
    with app.test_request_context(base_url="http://www.example.org"):
        address = url_for("wshandler.static", filename="client.js")
    assert address.startswith("http://static.example.org/wshandler/")
    assert app.test_client().get(address).data == SOURCE


def test_apps_of_a_factory_have_the_same_address():
    """So have all processes of one release."""
    sockets = WebSockets()
    apps = [Flask(__name__), Flask(__name__)]
    for app in apps:
        sockets.init_app(app)
    assert url_in(apps[0]) == url_in(apps[1])


def test_several_objects_serve_it_once(app, client, url):
    """Of one app."""
    WebSockets(app)
    client.get(url)
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint == "wshandler.static"]
    assert len(rules) == 1
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("is_first", [True, False])
def test_an_app_may_have_a_blueprint_of_that_name(is_first):
    """Before or after; the files are no blueprint's."""
    app = Flask(__name__)
    own = Blueprint("wshandler", __name__, url_prefix="/own")
    own.add_url_rule("/", "page", lambda: "own")
    if is_first:
        app.register_blueprint(own)
    WebSockets(app)
    if not is_first:
        app.register_blueprint(own)
    client = app.test_client()
    assert client.get("/own/").text == "own"
    assert client.get(url_in(app)).data == SOURCE


def test_an_apps_own_endpoint_of_that_name_stays():
    """It was there before."""
    app = Flask(__name__)
    app.add_url_rule("/own/<filename>", "wshandler.static", lambda filename: filename)
    WebSockets(app)
    assert url_in(app) == "/own/client.js"


def test_an_app_that_has_answered_requests_serves_it():
    """Whoever is given to `WebSockets` late."""
    app = Flask(__name__)
    app.test_client().get("/")
    WebSockets(app)
    assert app.test_client().get(url_in(app)).data == SOURCE


def test_who_asks_first_for_another_ones_url_is_answered(client):
    """The page may have come from another worker."""
    url = url_in_another_process()
    assert client.get(url).data == SOURCE


def url_in_another_process():
    app = Flask(__name__)
    WebSockets(app)
    return url_in(app)


def test_other_endpoints_that_are_not_there_are_errors_as_ever(app):
    """The first one that is asked for, too."""
    with app.test_request_context(), pytest.raises(BuildError, match=r"wshandler\.other"):
        url_for("wshandler.other")


def test_a_guard_of_the_whole_app_guards_it(app, client, url):
    """It is the app's affair to let the endpoint through."""
    app.before_request(lambda: ("log in", 401))
    assert client.get(url).status_code == 401
