"""`types`: hubs and pages in TypeScript, as its own compiler reads it."""

import dataclasses
import datetime
import decimal
import enum
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
)

import msgspec
import pytest
from flask import Flask

from flask_wshandler import WebSockets, accept_websocket_request
from flask_wshandler.calls import Hub, call

Item = TypeVar("Item")
FLAGS = "--strict --noEmit --target es2022 --module es2022 --lib es2022,dom"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Circle(msgspec.Struct, tag="circle", tag_field="kind"):
    radius: float


class Square(msgspec.Struct, tag="square", tag_field="kind"):
    side: float


class Numbered(msgspec.Struct, tag=2):
    side: float


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str
    odd: int = msgspec.field(name="not an identifier")


class Late(msgspec.Struct):
    at: int = 0
    later: int | msgspec.UnsetType = msgspec.UNSET


class Short(msgspec.Struct, omit_defaults=True):
    at: int = 0


class Box(msgspec.Struct, Generic[Item]):
    item: Item


class Pair(NamedTuple):
    key: str
    value: int = 0


class Keys(TypedDict, total=False):
    a: int


@dataclasses.dataclass
class Tree:
    name: str
    children: list["Tree"]


class Chain(msgspec.Struct):
    value: Annotated[int, msgspec.Meta(gt=0, description="Ends */ here.")]
    rest: Optional["Chain"] = None


class Sealed(msgspec.Struct, tag=True, array_like=True):
    value: int


class Page(Protocol):
    """What the page offers."""

    def moved(self, who: str, tree: Tree) -> None: ...
    def confirm(self, question: str) -> bool: ...
    def either(self, late: Late) -> int | None: ...
    def anything(self, value: Any = None) -> Any: ...


class Board(Hub[Page]):
    """The board.

    Ends */ here.
    """

    @call
    def move(self, tree: Tree, *rest: int | None, force: bool = False) -> int:
        """Move it."""

    @call("re.play")
    def replay(self, game: int, default: int = 0) -> Iterator[Chain]: ...

    @call
    def leave(self) -> None: ...

    @call
    def named(self, *, only: int) -> int: ...

    @call
    def then(self) -> None: ...


@pytest.fixture
def app():
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app).route("/board", endpoint="game")(Board)
    return app


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *arguments: runner.invoke(args=["websockets", "types", *arguments])


@pytest.fixture
def compiled(tmp_path):
    """What the compiler has to say of a program, with `app.ts` beside it."""

    def compiled(declarations, program=""):
        compiler = shutil.which("tsc")
        if compiler is None:
            pytest.skip("tsc is missing: apt install node-typescript")
        (tmp_path / "app.ts").write_text(declarations)
        (tmp_path / "program.ts").write_text(program)
        command = [compiler, *FLAGS.split(), "app.ts", "program.ts"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.stdout

    return compiled


WHOLE = """\
// Made by `flask websockets types`: what is changed here is lost.

/** What a stream gives: its items by `for await`, its end by `await`. */
export type Stream<Item> = AsyncIterable<Item> & PromiseLike<null>;

/**
 * The board.
 *
 * Ends *\\/ here.
 */
export interface Board {
  leave(): Promise<null>;
  /** Move it. */
  move(tree: Tree, ...rest: (number | null)[]): Promise<number>;
  // named can't be called by calls.js: it takes parameters by name.
  "re.play"(game: number, default_?: number): Stream<Chain>;
  // then can't be called by calls.js: it is JavaScript's own.
}

/** What the page offers. */
export interface Page {
  anything(value?: unknown): unknown;
  confirm(question: string): boolean | Promise<boolean>;
  either(late: Late): number | null | Promise<number | null>;
  moved(who: string, tree: Tree): void;
}

export interface Chain {
  /** Ends *\\/ here. */
  value: number;
  rest: Chain | null;
}

export interface Late {
  at: number;
  later?: number;
}

export interface Tree {
  name: string;
  children: Tree[];
}
"""


def test_hubs_of_the_routes_and_their_pages(run):
    """With their documentation, and all types that they lead to."""
    result = run()
    assert result.output == WHOLE
    assert result.exit_code == 0
    assert run("Board").output == run("game").output == WHOLE


RIGHT = """
import type { Board, Page, Stream } from "./app";
const page: Page = {
  moved: (who, tree) => { tree.children[0].name.at(0); who.at(0); },
  confirm: (question) => question === "",
  either: async ({ at, later }) => (later === undefined ? null : at),
  anything: (value) => value,
};
export async function play(board: Board): Promise<null> {
  const number: number = await board.move({ name: "a", children: [] }, 1, null);
  for await (const { value, rest } of board["re.play"](number)) (rest?.value ?? value).toFixed();
  return (await board["re.play"](1, 2)) ?? (await board.leave());
}
"""
WRONG = """
import type { Board, Page } from "./app";
export function play(board: Board, page: Page): void {
  board.move({ name: "a" });
  board.leave(1);
  board.named({ only: 1 });
  page.confirm("").length;
}
"""


def test_typescript_takes_right_programs_and_finds_wrong_ones(run, compiled):
    """Streams are iterated over and waited for."""
    declarations = run().output
    assert compiled(declarations, RIGHT) == ""
    lines = [line.partition(": ")[0] for line in compiled(declarations, WRONG).splitlines()]
    found = [line for line in lines if line.startswith("program.ts")]
    assert [line.partition("(")[2].partition(",")[0] for line in found] == ["4", "5", "6", "7"]


#: What is read from the page.
TYPES = {
    "bool": (bool, "boolean"),
    "float": (float, "number"),
    "str": (str, "string"),
    "none": (None, "null"),
    "bytes": (bytes, "string"),
    "any": (Any, "unknown"),
    "raw": (msgspec.Raw, "unknown"),
    "datetime": (datetime.datetime, "string"),
    "timedelta": (datetime.timedelta, "string"),
    "uuid": (uuid.UUID, "string"),
    "decimal": (decimal.Decimal, "string"),
    "optional": (int | None, "number | null"),
    "null last": (None | int, "number | null"),
    "union": (int | str, "number | string"),
    "once": (int | float, "number"),
    "unknown takes all": (list[int | Any], "unknown[]"),
    "literal": (Literal["a", 1, None], '1 | "a" | null'),
    "list": (list[int | None], "(number | null)[]"),
    "lists": (list[list[int]], "number[][]"),
    "set": (set[str], "string[]"),
    "frozenset": (frozenset[str], "string[]"),
    "tuple": (tuple[int, str], "[number, string]"),
    "long tuple": (tuple[int, ...], "number[]"),
    "no tuple": (tuple[()], "[]"),
    "dict": (dict[str, int | None], "Record<string, number | null>"),
    "numbers as keys": (dict[int, list[str]], "Record<string, string[]>"),
    "bounded": (Annotated[int, msgspec.Meta(gt=0)], "number"),
    "enum": (Colour, "Colour", 'type Colour = "red" | "blue"'),
    "numbers of an enum": (list[Level], "Level[]", "type Level = 1 | 2"),
    "struct as array": (Point, "Point", "type Point = [x: number, y?: number]"),
    "tagged array": (Sealed, "Sealed", 'type Sealed = [type_: "Sealed", value: number]'),
    "tagged": (
        Circle | Square,
        "Circle | Square",
        'interface Circle {\n  kind: "circle";\n  radius: number;\n}',
        'interface Square {\n  kind: "square";\n  side: number;\n}',
    ),
    "tagged by a number": (
        Numbered,
        "Numbered",
        "interface Numbered {\n  type: 2;\n  side: number;\n}",
    ),
    "renamed": (
        Renamed,
        "Renamed",
        'interface Renamed {\n  firstName: string;\n  "not an identifier": number;\n}',
    ),
    "defaults": (Late, "Late", "interface Late {\n  at?: number;\n  later?: number;\n}"),
    "generic": (Box[int], "Box_int", "interface Box_int {\n  item: number;\n}"),
    "generic without": (Box, "Box", "interface Box {\n  item: unknown;\n}"),
    "generic of generic": (
        Box[Box[str]],
        "Box_Box_str",
        "interface Box_Box_str {\n  item: Box_str;\n}",
        "interface Box_str {\n  item: string;\n}",
    ),
    "generic of a list": (Box[list[int]], "Box_list_int", "{\n  item: number[];\n}"),
    "named tuple": (Pair, "Pair", "type Pair = [key: string, value?: number]"),
    "typed dict": (Keys, "Keys", "interface Keys {\n  a?: number;\n}"),
    "recursive": (Tree, "Tree", "interface Tree {\n  name: string;\n  children: Tree[];\n}"),
}


def declared(annotation, monkeypatch, returns=None):
    """What is declared of a hub with one call."""
    call_it = call("it")(lambda self, value: None)
    call_it.__annotations__ = {"value": annotation, "return": returns}
    hub = type("OneCall", (Hub,), {"it": call_it, "__module__": __name__})
    monkeypatch.setattr(sys.modules[__name__], "OneCall", hub, raising=False)
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app)
    arguments = ["websockets", "types", "--class", f"{__name__}:OneCall"]
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", TYPES)
def test_a_type(name, monkeypatch):
    """As a parameter, with what is declared besides."""
    annotation, expected, *declarations = TYPES[name]
    found = declared(annotation, monkeypatch)
    assert f"  it(value: {expected}): Promise<null>;\n" in found
    assert found.count("export ") == 1 + len(declarations)
    for each in declarations:
        assert each in found


def test_all_types_are_typescript(monkeypatch, compiled):
    """All of them in one module."""
    everything = tuple[tuple(annotation for annotation, *_ in TYPES.values())]
    assert compiled(declared(everything, monkeypatch)) == ""


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Late, "at: number;\n  later?: number;"),  # UNSET is not written
        (Short, "at?: number;"),
        (Keys, "a?: number;"),
        (Chain, "rest: Chain | null;"),
    ],
)
def test_what_is_only_written_has_its_defaults(annotation, expected, monkeypatch):
    """A page that reads it need not ask; unless it is left out when it is the default."""
    assert f"  {expected}\n" in declared(int, monkeypatch, returns=annotation)


class Shop:
    class OneCall(msgspec.Struct):
        pass


def test_two_classes_of_one_name(monkeypatch, compiled):
    """Each has its own, by what it is nested in or its module; the second time, too."""

    class Promise(msgspec.Struct):
        pass

    twin = msgspec.defstruct("Twin", [("a", int)], module="shop")
    other = msgspec.defstruct("Twin", [("c", int)], module="bank.models")
    annotation = tuple[Shop.OneCall, Promise, twin, other]
    found = declared(annotation, monkeypatch)
    [line] = [line for line in found.splitlines() if "it(value" in line]
    assert line == (
        "  it(value: [Shop_OneCall, Promise_, shop_Twin, bank_models_Twin]): Promise<null>;"
    )
    assert declared(annotation, monkeypatch) == found
    assert compiled(found) == ""


def test_stream_can_be_imported(run):
    """Where the page has it already."""
    found = run("--import", "./calls.js").output
    assert 'import type { Stream } from "./calls.js";' in found
    assert "type Stream<" not in found


def test_a_file_is_written_and_held_to_the_app(run, tmp_path):
    """Status 1, with what differs, for a program that checks changes."""
    path = tmp_path / "app.ts"
    missing = run("--check", str(path))
    assert missing.exit_code == 1
    assert missing.output == f"Error: there is no {path}; --out writes it\n"
    assert run("--out", str(path)).output == ""
    assert path.read_text() == WHOLE
    assert run("--check", str(path)).exit_code == 0
    path.write_text(WHOLE.replace("leave()", "left()"))
    differs = run("--check", str(path))
    assert differs.exit_code == 1
    assert "-  left(): Promise<null>;\n+  leave(): Promise<null>;\n" in differs.output
    assert "is not what the app has" in differs.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nobody"], "no hub of this app's routes is called nobody"),
        (["--class", "nowhere:Board"], "'nowhere:Board' can't be imported: No module named"),
        (["--class", f"{__name__}:Nobody"], "can't be imported: module"),
        (["--class", f"{__name__}:Point"], "is not a hub"),
    ],
)
def test_what_is_not_there(run, arguments, reason):
    """Said in a line."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert reason in result.output


def test_a_view_that_names_its_hub():
    """Found as `routes` finds it; without any the command says what to do."""
    app = Flask(__name__)
    app.config["WSHANDLER_BUS"] = "none"
    WebSockets(app)
    run = app.test_cli_runner().invoke
    none = run(args=["websockets", "types"])
    assert (none.exit_code, "--class" in none.output) == (1, True)

    @app.get("/view")
    def view():
        return accept_websocket_request(Board())

    assert run(args=["websockets", "types", "view"]).output == WHOLE


def test_without_msgspec(run, monkeypatch):
    """What is missing is said, and how to get it."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    result = run()
    assert result.exit_code == 1
    assert "pip install 'flask-wshandler[calls]'" in result.output
