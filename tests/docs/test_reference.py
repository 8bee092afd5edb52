"""docs/reference is complete, and its tables are those of the package."""

import ast
import dataclasses
import re
from pathlib import Path

import flask_wshandler
import flask_wshandler.bus
import flask_wshandler.client
import flask_wshandler.testing
from flask_wshandler.settings import _OF_HANDLERS, PREFIX, Settings

from .markdown_page import MarkdownPage

DOCS = Path(__file__).resolve().parents[2] / "docs"
SETTINGS = MarkdownPage(DOCS / "reference" / "settings.md")
CODES = MarkdownPage(DOCS / "reference" / "statuses-and-codes.md")
ASP_NET = MarkdownPage(DOCS / "howto" / "from-aspnet.md")

_DOCUMENTED = re.compile(r"^\.\. auto\w+:: (\w+)", re.MULTILINE)
#: For whoever writes a bus; the page says where they are explained.
OF_A_BUS = {"DEFAULT_QUEUE_BYTES", "Envelope", "Kind", "Malformed"}


def documented(page: str) -> set[str]:
    return set(_DOCUMENTED.findall((DOCS / "reference" / page).read_text(encoding="utf-8")))


def test_every_public_name_is_in_the_reference():
    """Neither more nor fewer, for each of the four modules."""
    assert documented("api.md") == set(flask_wshandler.__all__)
    assert documented("testing.md") == set(flask_wshandler.testing.__all__)
    assert documented("client.md") == set(flask_wshandler.client.__all__)
    assert documented("bus.md") == set(flask_wshandler.bus.__all__) - OF_A_BUS - {"BusStats"}


def test_the_settings_are_all_there_with_their_defaults():
    """A key, its default in code, its unit, what it does."""
    found = {
        key.strip("`"): ast.literal_eval(default.strip("`"))
        for key, default, *_ in SETTINGS.rows("Of an app")
    }
    assert found == {
        PREFIX + field.name.upper(): field.default for field in dataclasses.fields(Settings)
    }


def test_the_settings_of_handlers_are_all_there():
    """Each attribute that overrides a setting for one client."""
    cells = [row[0] for row in SETTINGS.rows("Of a handler")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(_OF_HANDLERS)
    assert set(_OF_HANDLERS) <= set(flask_wshandler.WebSocketHandler.__annotations__)


def test_the_close_codes_are_ours():
    """Every code in the table is one that this package names."""
    codes = {int(code) for code, _ in CODES.rows("After the upgrade") if code.isdigit()}
    ours = {int(code) for code in flask_wshandler.CloseCode}
    assert codes == ours - {1005}  # which is for us alone to see


def test_the_names_beside_those_of_asp_net_exist():
    """Each word of code in the second column is something that the package has."""
    public = [getattr(flask_wshandler, name) for name in flask_wshandler.__all__]
    names = set(flask_wshandler.__all__) | {"context"}
    for each in public:
        names.update(dir(each), getattr(each, "__annotations__", ()))
    for _, here, _ in ASP_NET.rows("The names"):
        code = [re.sub(r"\(.*\)", "", word) for word in re.findall(r"`([^`]+)`", here)]
        words = {name for word in code for name in word.split(".")}
        assert words <= names, here
