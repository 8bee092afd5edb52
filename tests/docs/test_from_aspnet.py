"""The tables of names: all that ASP.NET has, and all that is here."""

import re
from pathlib import Path

import pytest

from flask_wshandler import HttpContext, WebSocketContext

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/from-aspnet.md"


def names_in(text):
    return text.split()


#: The public members of .NET Framework 4.8's System.Web.HttpContext.
HTTP_CONTEXT = names_in("""
    AcceptWebSocketRequest AddError AddOnRequestCompleted AllErrors AllowAsyncDuringSyncStages
    Application ApplicationInstance AsyncPreloadMode Cache ClearError Current CurrentHandler
    CurrentNotification DisposeOnPipelineCompleted Error GetAppConfig GetConfig
    GetGlobalResourceObject GetLocalResourceObject GetSection Handler IsCustomErrorEnabled
    IsDebuggingEnabled IsPostNotification IsWebSocketRequest IsWebSocketRequestUpgrading Items
    PageInstrumentation PreviousHandler Profile RemapHandler Request Response RewritePath Server
    Session SetSessionStateBehavior SkipAuthorization ThreadAbortOnTimeout Timestamp Trace User
    WebSocketNegotiatedProtocol WebSocketRequestedProtocols
""")
#: Those of System.Net.WebSockets.WebSocketContext and System.Web.WebSockets.AspNetWebSocketContext.
WEBSOCKET_CONTEXT = names_in("""
    AnonymousID Application ApplicationPath Cache ConnectionCount CookieCollection Cookies FilePath
    Headers IsAuthenticated IsClientConnected IsDebuggingEnabled IsLocal IsSecureConnection Items
    LogonUserIdentity Origin Path PathInfo Profile QueryString RawUrl RequestUri SecWebSocketKey
    SecWebSocketProtocols SecWebSocketVersion Server ServerVariables Timestamp Unvalidated
    UrlReferrer User UserAgent UserHostAddress UserHostName UserLanguages WebSocket
""")

TABLES = {"HttpContext": (HTTP_CONTEXT, HttpContext),
          "WebSocketContext": (WEBSOCKET_CONTEXT, WebSocketContext)}  # fmt: skip


def rows(heading):
    """(ASP.NET's names, ours, the note) of each row of a table."""
    text = PAGE.read_text().partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    for line in lines:
        theirs, ours, note = (each.strip() for each in line.strip("|").split("|"))
        yield re.findall(r"`([\w.]+)`", theirs), re.findall(r"`(\w+)`", ours), note


@pytest.mark.parametrize("heading", TABLES)
def test_every_name_of_aspnets_is_in_its_table(heading):
    """Once, with its name here or why there is none."""
    theirs = [name for names, _, _ in rows(heading) for name in names if "." not in name]
    assert sorted(theirs) == sorted(TABLES[heading][0])
    for names, ours, note in rows(heading):
        assert ours or note, names


@pytest.mark.parametrize("heading", TABLES)
def test_every_name_of_ours_is_in_the_table(heading):
    """And is one of the class."""
    ours = {name for _, names, _ in rows(heading) for name in names}
    members = {name for name in dir(TABLES[heading][1]) if not name.startswith("_")}
    assert ours - members == set()
    assert members - ours - {"is_user_unchanged"} == set()
