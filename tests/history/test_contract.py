"""What every log promises: see `flask_wshandler/history/log.py`."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_wshandler.history.log import (
    MOST_READ_BYTES,
    NOBODY,
    Bounds,
    Draft,
    LogUnavailable,
)

from .places import PLACES

MANY = Bounds(1000, 86400.0)
AGE_S = 1000.0


def texts(page):
    return [entry.payload.decode() for entry in page.entries]


def numbers(page):
    return [entry.number for entry in page.entries]


def test_every_topic_has_numbers_of_its_own(place):
    """From 1 on, without holes; and one id of the log."""
    log = place.open()
    at = [place.put(log, topic, "x", MANY) for topic in ("a", "b", "a", "a", "b")]
    assert [each.number for each in at] == [1, 1, 2, 3, 2]
    assert {each.generation for each in at} == {0}
    assert at[0].log_id == at[2].log_id == at[3].log_id
    assert at[1].log_id == at[4].log_id
    last = log.last_of(["a", "c", "b"])
    assert last == {"a": at[3], "c": last["c"], "b": at[4]}
    assert last["c"][1:] == (0, 0)
    assert sorted(log.topics()) == ["a", "b"]


def test_what_is_not_there_has_the_number_0(place):
    """Of whom nothing was broadcast."""
    log = place.open()
    for page in (log.read("t", 0), log.newest("t", 5), log.read("t", 7)):
        assert page.last == log.last_of(["t"])["t"]
        assert (page.last.number, page.first_number, page.entries) == (0, 1, [])
    assert log.topics() == []
    assert log.size().messages == log.size().bytes == 0


@pytest.mark.parametrize(
    "draft",
    [
        Draft(True, b""),
        Draft(True, "grüße, 世界 \0".encode()),
        Draft(False, bytes(range(256)), b"12345678"),
        Draft(False, bytes(300_000), b"\0\0\0\0\0\0\0\1"),
    ],
)
def test_comes_back_byte_for_byte(place, draft):
    """Any kind, any size, and whom it is not for; with the time."""
    log = place.open()
    before = place.put(log, "t", "before", MANY)
    log.append("t", draft, MANY)
    (entry,) = log.read("t", before.number).entries
    assert (entry.number, Draft(*entry[1:4])) == (2, draft)
    assert type(entry.is_text) is bool and type(entry.payload) is bytes
    (first,) = log.read("t", 0, 1).entries
    assert first.excluded == NOBODY
    assert first.at_s <= entry.at_s


def test_reads_from_a_place_on(place):
    """The oldest first, as many as wanted; the newest, too."""
    log = place.open()
    for number in range(1, 11):
        place.put(log, "t", str(number), MANY)
        place.put(log, "other", "no", MANY)
    assert texts(log.read("t", 0)) == [str(each) for each in range(1, 11)]
    assert numbers(log.read("t", 4)) == [5, 6, 7, 8, 9, 10]
    assert numbers(log.read("t", 4, 2)) == [5, 6]
    assert numbers(log.read("t", 10)) == numbers(log.read("t", 2**53)) == []
    assert numbers(log.newest("t", 3)) == [8, 9, 10]
    assert numbers(log.newest("t", 100)) == list(range(1, 11))
    assert numbers(log.newest("t", 0)) == []
    for page in (log.read("t", 0), log.read("t", 10), log.newest("t", 3)):
        assert page.last == log.last_of(["t"])["t"]
        assert page.first_number == 1


def test_keeps_so_many(place):
    """Those that were appended last, as many as the last append has said."""
    log = place.open()
    for number in range(1, 101):
        place.put(log, "t", str(number), Bounds(10, 1000.0))
    page = log.read("t", 0)
    assert numbers(page) == list(range(91, 101))
    assert page.first_number == 91
    assert numbers(log.newest("t", 50)) == list(range(91, 101))
    assert log.size().messages <= 10 + place.slack
    place.put(log, "t", "101", Bounds(3, 1000.0))
    assert numbers(log.read("t", 0)) == [99, 100, 101]
    log.tidy()
    assert log.size().messages == 3
    for number in range(102, 110):
        place.put(log, "t", str(number), Bounds(5, 1000.0))
    assert numbers(log.read("t", 0)) == [105, 106, 107, 108, 109]


def test_keeps_so_long(place):
    """What is older is not told, and forgotten in time; the number stays."""
    log = place.open()
    bounds = Bounds(100, AGE_S)
    place.put(log, "t", "old", bounds)
    place.put(log, "u", "old", Bounds(100, 1e6))
    place.pass_time(AGE_S * 0.6)
    place.put(log, "t", "new", bounds)
    assert texts(log.read("t", 0)) == ["old", "new"]
    place.pass_time(AGE_S * 0.6)
    assert texts(log.read("t", 0)) == texts(log.newest("t", 9)) == ["new"]
    assert log.read("t", 0).first_number == 2
    place.pass_time(AGE_S)
    page = log.read("t", 0)
    assert (page.entries, page.first_number, page.last.number) == ([], 3, 2)
    log.tidy()
    assert log.topics() == ["u"]
    assert log.size().messages == 1
    assert log.last_of(["t"])["t"].number == 2
    assert place.put(log, "t", "again", bounds).number == 3
    assert log.read("t", 0).first_number == 3


def test_keeps_so_much(place):
    """Of all topics the oldest go first."""
    log = place.open(size_bytes=20_000)
    for number in range(300):
        place.put(log, f"t{number % 3}", f"{number:0200}", MANY)
        place.pass_time(0.001)
        if not place.fits_at_once:
            log.tidy()
        assert log.size().bytes <= 20_000
    kept = sorted(int(text) for topic in ("t0", "t1", "t2") for text in texts(log.read(topic, 0)))
    assert kept[-1] == 299
    assert kept == list(range(kept[0], 300))
    assert log.size().bytes > 19_000
    assert log.size().messages == len(kept)
    assert log.read("t0", 0).first_number == numbers(log.read("t0", 0))[0]


def test_a_message_that_is_larger_than_all_is_refused(place):
    """And those that are there stay."""
    log = place.open(size_bytes=10_000)
    place.put(log, "t", "small", MANY)
    with pytest.raises(LogUnavailable, match="10000"):
        log.append("t", Draft(False, bytes(10_000)), MANY)
    assert texts(log.read("t", 0)) == ["small"]
    log.append("t", Draft(False, bytes(9_900)), MANY)
    assert numbers(log.read("t", 0)) == [2]


def test_a_page_has_some_megabytes(place):
    """And one message at least: whoever asks for more gets more."""
    log = place.open()
    half = MOST_READ_BYTES // 2
    for size in (half, half, 1, MOST_READ_BYTES + 1, half):
        log.append("t", Draft(False, bytes(size)), MANY)
    assert numbers(log.read("t", 0)) == [1, 2]
    assert numbers(log.read("t", 2)) == [3]
    assert numbers(log.read("t", 3)) == [4]
    assert numbers(log.newest("t", 5)) == [5]
    assert log.newest("t", 5).first_number == 1


def test_the_generation_tells_of_gaps(place):
    """Each is another one, for this topic, from the message on that came after it."""
    log = place.open()
    place.put(log, "t", "1", MANY)
    assert place.put(log, "t", "2", MANY, after_gap=True).generation == 1
    assert place.put(log, "t", "3", MANY).generation == 1
    assert place.put(log, "t", "4", MANY, after_gap=True).generation == 2
    assert place.put(log, "u", "1", MANY).generation == 0
    assert place.put(log, "v", "1", MANY, after_gap=True).generation == 1
    assert log.read("t", 0).last.generation == log.last_of(["t"])["t"].generation == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.sampled_from("ab"),
            st.integers(1, 12),
            st.sampled_from([5.0, 50.0]),
            st.booleans(),
        ),
        st.tuples(st.just("wait"), st.floats(0, 30)),
        st.tuples(st.just("tidy")),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    "kind", [kind for kind, place in PLACES.items() if place.has_clock and kind != "memory"]
)
def test_shows_the_same_as_the_log_in_memory(kind, monkeypatch):
    """Whatever was done: bounds that change, time that passes, gaps."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    place, model = PLACES[kind](), PLACES["memory"]()
    logs = place.open(), model.open()
    tried = iter(range(1_000_000))

    @settings(
        derandomize=True,
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def follow(steps):
        prefix = str(next(tried))
        for step, *details in steps:
            if step == "append":
                topic, count, age_s, after_gap = details
                for where, log in zip((place, model), logs, strict=True):
                    bounds = Bounds(count, age_s)
                    where.put(log, prefix + topic, "x", bounds, after_gap=after_gap)
            elif step == "wait":
                place.pass_time(*details)
                model.pass_time(*details)
            else:
                for log in logs:
                    log.tidy()
            for topic in "ab":
                seen, expected = (
                    [
                        (page.last[1:], page.first_number, numbers(page))
                        for page in (log.read(prefix + topic, 2, 4), log.newest(prefix + topic, 3))
                    ]
                    for log in logs
                )
                assert seen == expected

    try:
        follow()
    finally:
        logs[0].close()
        place.stop()


def test_threads_of_one_process(place):
    """Each number once, and each message can be read at once."""
    log = place.open()
    told = []

    def flood(name):
        for number in range(100):
            text = f"{name} {number}"
            at = place.insist(log, "t", text, MANY)
            told.append((at.number, text, texts(log.read("t", at.number - 1, 1))))

    threads = [threading.Thread(target=flood, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _, _ in told) == list(range(1, 401))
    assert all(read == [text] for _, text, read in told)
    assert [text for _, text, _ in sorted(told)] == texts(log.read("t", 0))


def test_processes_have_one_order(shared_place, start):
    """While four append at once: no number twice, no hole, and each can be read at once."""
    processes = [start(shared_place) for _ in range(4)]
    for name, process in zip("abcd", processes, strict=True):
        process.order("flood", "t", name, 100)
    assert all(process.answer() for process in processes)
    page = shared_place.open().read("t", 0)
    assert numbers(page) == list(range(1, 401))
    for name in "abcd":
        own = [text for text in texts(page) if text.startswith(name)]
        assert own == [f"{name} {number}" for number in range(100)]
    assert [process.texts("t") for process in processes] == [texts(page)] * 4


def test_numbers_go_on_when_all_processes_were_gone(shared_place, start):
    """In the same log."""
    said = []
    for number in range(3):
        process = start(shared_place)
        said.append(process.append("t", str(number)))
        process.end()
    log_id = said[0][0]
    assert said == [[log_id, 0, 1], [log_id, 0, 2], [log_id, 0, 3]]


def test_what_was_told_survives_kill(shared_place, start):
    """Of four that append: no number twice, none lost that was told, and no hole."""
    processes = [start(shared_place) for _ in range(4)]
    for name, process in zip("abcd", processes, strict=True):
        process.order("flood_until_killed", "t", name)
    for process in processes:
        for _ in range(20):
            process.answer()
    told = [
        json.loads(line)
        for process in processes
        for line in process.kill().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    log = shared_place.open()
    page = log.read("t", 0)
    kept = {}
    while page.entries:
        kept.update((entry.number, entry.payload.decode()) for entry in page.entries)
        page = log.read("t", page.entries[-1].number)
    assert list(kept) == list(range(1, page.last.number + 1))
    assert all(kept[number] == text for text, number in told)
    assert len(set(kept.values())) == len(kept)
    assert shared_place.put(log, "t", "after", MANY).number == page.last.number + 1


def test_a_forked_child_appends_too(shared_place, start):
    """And its parent goes on when it has ended."""
    process = start(shared_place)
    inherited = process.fork("t")
    assert process.texts("t") == ["before", "child", "parent"]
    assert inherited == []
    process.kill()
    assert texts(shared_place.open().read("t", 0)) == ["before", "child", "parent"]
