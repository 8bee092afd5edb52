"""What processes have told is counted once, in whatever order they go, are read and are killed."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_wshandler.monitoring.samples import add, counters_of, dump, load
from flask_wshandler.monitoring.totals_files import Books
from flask_wshandler.runtime.run_directory import RunDirectory

COUNTER, GAUGE, SHARED = ("accepted",), ("connections",), ("history_log_bytes",)


@pytest.fixture(scope="module", autouse=True)
def runtime():
    before = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory(prefix="ws-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        yield Path(directory)
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before


def new_books(name="app", server="server"):
    directory = RunDirectory(name)
    directory.make()
    return Books(directory, server)


def total(books, living=()):
    """The sum as a reader makes it."""
    names = books.names()
    told = {name: books.read(name) for name in names}
    gone, figures = books.gone()
    for name, each in told.items():
        if name not in gone:
            add(figures, each if name in living else counters_of(each))
    return figures


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.booleans()), max_size=20), st.data())
def test_nothing_is_lost_and_nothing_counted_twice(processes, data):
    """Whoever enters the dead, and however often."""
    books = new_books(f"app {os.urandom(8).hex()}")
    dead, expected = [], 0
    for count, is_dead in processes:
        name = books.new_name()
        books.write(name, {COUNTER: count, GAUGE: 1})
        expected += count
        if is_dead:
            dead.append(name)
        if dead and data.draw(st.booleans()):
            books.enter(data.draw(st.lists(st.sampled_from(dead), unique=True)))
        assert total(books).get(COUNTER, 0) == expected
    books.enter(dead)
    books.enter(dead)
    assert total(books).get(COUNTER, 0) == expected
    assert len(books.names()) == len(processes) - len(dead)
    assert total(books).get(GAUGE) is None


def test_what_processes_share_is_not_added_up():
    """The one that has seen most of it is right, and who is gone has no say."""
    books = new_books("sharing")
    names = [books.new_name() for _ in range(3)]
    for name, size in zip(names, (5, 7, 9), strict=True):
        books.write(name, {COUNTER: 1, SHARED: size})
    assert total(books, living=names[:2]) == {COUNTER: 3, SHARED: 7}


def test_who_is_killed_while_entering_leaves_the_sum_right(monkeypatch):
    """After the sum is written and before the files are gone."""
    books = new_books()
    name = books.new_name()
    books.write(name, {COUNTER: 5})
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "remove", lambda self, name: None)
        books.enter([name])
    assert books.names() == [name]
    assert total(books) == {COUNTER: 5}
    books.enter([name])
    assert books.names() == []
    assert total(books) == {COUNTER: 5}


def test_one_at_a_time_enters():
    """Another leaves it to him."""
    first, second = new_books("locked"), new_books("locked")
    name = first.new_name()
    first.write(name, {COUNTER: 5})
    with first._lock() as is_mine:
        assert is_mine
        second.enter([name])
        assert second.names() == [name]
    second.enter([name])
    assert second.names() == []


def test_servers_are_kept_apart():
    """And what one has left can be removed."""
    one, other = new_books("shared", "one"), new_books("shared", "other")
    name = one.new_name()
    one.write(name, {COUNTER: 5})
    one.enter([name])
    last = one.new_name()
    one.write(last, {COUNTER: 1})
    assert other.names() == []
    [(server, names)] = other.foreign_names().items()
    assert names == [last]
    other.remove_server(server, names)
    assert total(one) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"1", b"[[]]", b"[[1, 2]]", b'[["a", "b"]]', b"[1]"])
def test_what_is_no_figures_is_none(data):
    """A file that somebody else has written."""
    with pytest.raises(ValueError):
        load(data)
    books = new_books("broken")
    name = books.new_name()
    (books._directory.path / f"{name}.figures").write_bytes(data)
    assert books.read(name) == {}


def test_figures_come_back_as_they_were():
    """Whole numbers stay whole."""
    figures = {("a",): 2**60, ("b", "label"): 0.1, ("c", "x", "0"): 3}
    assert load(dump(figures)) == figures
    assert type(load(dump(figures))["a",]) is int
