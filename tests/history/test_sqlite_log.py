"""The log of one machine when what it lies on fails, and when it is well again."""

import contextlib
import ctypes
import fcntl
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from flask_wshandler.history.log import APPEND_TIMEOUT_S, Bounds, Draft, LogBusy, LogUnavailable

MANY = Bounds(1000, 86400.0)
NOBODY_ID = 65534


@pytest.fixture
def place(sqlite_place):
    return sqlite_place


@pytest.fixture
def log(place):
    return place.open()


def texts(log, topic="t"):
    return [entry.payload.decode() for entry in log.read(topic, 0).entries]


def say(log, text, topic="t"):
    return log.append(topic, Draft(True, text.encode()), MANY)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_user_gets_in(place):
    """0600, whatever the umask, and what SQLite has beside it."""
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            log = place.open()
            say(log, "x")
        finally:
            os.umask(before)
        files = list(place.file.parent.glob("*.history*"))
        assert len(files) == 3
        assert {mode_of(each) for each in files} == {0o600}
        assert mode_of(place.file.parent) == 0o700
        log.close()
        place.file.unlink()


def test_nothing_is_touched_before_it_is_used(place, log):
    """By an app that is only imported."""
    log.close()
    assert not list(Path(place.address).iterdir())


# Others that write.


def test_who_writes_for_long_is_not_waited_for(place, log, start):
    """A quarter of a second; what is read does not wait. Then all is as before."""
    process = start(place)
    say(log, "1")
    with contextlib.closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun_s = time.monotonic()
        with pytest.raises(LogBusy, match="250 ms"):
            say(log, "2")
        assert time.monotonic() - begun_s >= APPEND_TIMEOUT_S
        assert "250 ms" in process.append("t", "3")
        assert texts(log) == process.texts("t") == ["1"]
    assert say(log, "4").number == 2
    assert process.append("t", "5")[2] == 3


def test_who_opens_for_long_is_not_waited_for(place, log):
    """As one that was stopped when it made the file."""
    say(log, "1")
    log.close()
    directory = os.open(place.file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(LogBusy, match="locked"):
            say(log, "2")
    finally:
        os.close(directory)
    assert say(log, "3").number == 2


def test_threads_wait_for_one_another_no_longer(place, log):
    """All of them together as long as one."""
    say(log, "1")
    failures = []

    def append():
        with pytest.raises(LogBusy) as raised:
            say(log, "2")
        failures.append(str(raised.value))

    with contextlib.closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=append) for _ in range(8)]
        begun_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - begun_s
    assert len(failures) == 8
    assert took_s < 6 * APPEND_TIMEOUT_S, failures  # one after the other it would be eight
    assert say(log, "3").number == 2


def test_a_call_in_the_midst_of_another_fails(place):
    """A signal handler that appends while its thread does so."""

    class Interrupted:
        log = None
        failure = None

        def __call__(self):
            if self.log is not None and self.failure is None:
                with pytest.raises(LogBusy) as raised:
                    say(self.log, "within")
                self.failure = str(raised.value)
            return 1e9

    place.clock = clock = Interrupted()
    log = clock.log = place.open()
    assert say(log, "1").number == 1
    assert "interrupted" in clock.failure
    assert say(log, "2").number == 2


def test_an_exception_amid_an_append_appends_nothing(place):
    """Whatever it is, as one of a signal handler."""

    class Clock:
        fails = False

        def __call__(self):
            if self.fails:
                raise KeyboardInterrupt
            return 1e9

    place.clock = clock = Clock()
    log = place.open()
    say(log, "1")
    clock.fails = True
    with pytest.raises(KeyboardInterrupt):
        say(log, "2")
    clock.fails = False
    assert say(log, "3").number == 2
    assert texts(log) == ["1", "3"]


# What the file may have become.


def fill_with_garbage(file):
    file.write_bytes(os.urandom(file.stat().st_size))


def garbage_inside(file):
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))


def empty(file):
    os.truncate(file, 0)


def truncate(file):
    os.truncate(file, 4096)


def truncate_amid(file):
    os.truncate(file, 5000)


def text(file):
    file.write_text("what somebody has written")


def drop_tables(file):
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("DROP TABLE entries")


def of_another_version(file):
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA user_version=0")


FAULTS = [fill_with_garbage, garbage_inside, empty, truncate, truncate_amid, text, drop_tables,
          of_another_version]  # fmt: skip


@pytest.mark.parametrize("damage", FAULTS, ids=lambda fault: fault.__name__)
def test_a_damaged_file_is_begun_anew(place, start, damage, caplog):
    """With another id, and all processes end up in the same one. One line says so."""
    log = place.open()
    before = say(log, "1")
    for number in range(20):
        say(log, "x" * 1000, f"topic {number}")
    log.close()
    damage(place.file)
    after = say(log, "2")
    process = start(place)
    assert process.append("t", "3") == [after.log_id.hex(), 0, 2]
    assert (after.number, after.log_id == before.log_id) == (1, False)
    assert texts(log) == process.texts("t") == ["2", "3"]
    assert caplog.text.count("begun anew") == 1


@pytest.mark.parametrize("damage", FAULTS[:6], ids=lambda fault: fault.__name__)
def test_a_file_that_is_damaged_while_it_is_used(place, start, damage):
    """Whoever comes next finds it, and the others follow."""
    log = place.open()
    for number in range(20):
        say(log, "x" * 1000, f"topic {number}")
    log.tidy()  # brings all into the file
    old = start(place)
    assert old.append("t", "before")[2] == 1
    log.tidy()
    damage(place.file)
    new = start(place)
    log_ids = set()
    for process in (new, old, new):
        said = process.append("t", "after")
        assert isinstance(said, list), said
        log_ids.add(said[0])
    assert say(log, "after").log_id.hex() in log_ids
    seen = texts(log)
    assert seen == new.texts("t") == old.texts("t")
    assert set(seen) <= {"before", "after"}


def test_a_newer_versions_file_is_left_alone(place, log):
    """It says so; when it has gone, all is well."""
    say(log, "1")
    log.close()
    with contextlib.closing(sqlite3.connect(place.file)) as other:
        other.execute("PRAGMA user_version=99")
    content = place.file.read_bytes()
    for use in (lambda: say(log, "2"), lambda: log.read("t", 0), log.tidy, log.size):
        with pytest.raises(LogUnavailable, match="version 99"):
            use()
    assert place.file.read_bytes() == content
    place.file.unlink()
    assert say(log, "3").number == 1


def remove_file(place):
    place.file.unlink()


def remove_all_files(place):
    for each in place.file.parent.glob("*.history*"):
        each.unlink()


def remove_directory(place):
    shutil.rmtree(place.file.parent)


def remove_all(place):
    shutil.rmtree(place.address)
    os.mkdir(place.address, 0o700)


@pytest.mark.parametrize(
    "remove", [remove_file, remove_all_files, remove_directory, remove_all],
    ids=lambda remove: remove.__name__,
)  # fmt: skip
def test_a_file_that_is_removed_while_it_is_used(place, start, remove):
    """Nobody fails, and all are in one and the same new log at once."""
    log = place.open()
    processes = [start(place) for _ in range(2)]
    before = say(log, "before")
    assert [process.append("t", "before")[2] for process in processes] == [2, 3]
    remove(place)
    said = [process.append("t", "after") for process in processes]
    after = say(log, "after")
    assert said == [[after.log_id.hex(), 0, 1], [after.log_id.hex(), 0, 2]]
    assert after.number == 3
    assert after.log_id != before.log_id
    assert texts(log) == processes[0].texts("t") == ["after"] * 3


def test_a_file_that_is_removed_is_missed_by_readers_too(place, log):
    """They don't go on in what nobody else sees."""
    before = say(log, "1")
    remove_all_files(place)
    assert log.last_of(["t"])["t"].log_id != before.log_id
    remove_all_files(place)
    assert texts(log) == []


# Who may use it.


@pytest.mark.parametrize("what", ["link", "mode", "owner", "directory", "top", "pipe"])
def test_what_could_be_somebody_elses_is_refused(place, log, what):
    """As the run directory is; when that is mended, it goes on."""
    if what == "owner" and os.geteuid() != 0:
        pytest.skip("needs to give a file away")
    say(log, "1")
    log.close()
    file = place.file
    aside = file.with_name("aside")
    if what == "mode":
        file.chmod(0o640)
    elif what == "owner":
        os.chown(file, NOBODY_ID, NOBODY_ID)
    elif what == "top":
        file.parent.chmod(0o755)
    else:
        file.rename(aside)
        if what == "link":
            file.symlink_to(aside)
        elif what == "directory":
            file.mkdir()
        else:
            os.mkfifo(file)
    with pytest.raises(LogUnavailable, match=r"0600|0700|belongs to|no regular file"):
        say(log, "2")
    if what == "mode":
        file.chmod(0o600)
    elif what == "owner":
        os.chown(file, os.geteuid(), os.getegid())
    elif what == "top":
        file.parent.chmod(0o700)
    else:
        file.rmdir() if what == "directory" else file.unlink()
        aside.rename(file)
    assert say(log, "3").number == 2


@pytest.fixture
def small_disk(place):
    """The place on a file system of one megabyte."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", place.address]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount something")
    yield Path(place.address)
    subprocess.run(["umount", "-l", place.address], check=True)


def test_a_full_disk(place, small_disk, log, start):
    """It says so and appends nothing, what is there can be read; with room it goes on."""
    process = start(place)
    process.append("t", "0")
    told = [1]
    with pytest.raises(LogUnavailable, match="make room"):
        while True:
            told.append(say(log, "x" * 10_000).number)
    with pytest.raises(LogUnavailable, match="make room"):
        say(log, "x" * 10_000)
    assert "make room" in process.append("t", "x" * 10_000)
    assert [entry.number for entry in log.read("t", 0).entries] == told
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    assert say(log, "after").number == told[-1] + 1
    assert process.append("t", "after")[2] == told[-1] + 2


def test_a_disk_that_is_full_from_the_beginning(place, small_disk, log):
    """No file can be made; then one can."""
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb") as ballast:
        while True:
            ballast.write(bytes(4096))
            ballast.flush()
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            say(log, "1")
    (small_disk / "ballast").unlink()
    assert say(log, "2").number == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_a_disk_that_is_read_only(place, small_disk, log, is_there):
    """It says so, by whatever it fails; then it goes on."""
    say(log, "1")
    log.close()
    if not is_there:
        place.file.unlink()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"[Rr]ead-only|readonly|unable to open"):
            say(log, "2")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert say(log, "3").number == 1 + is_there


@contextlib.contextmanager
def no_file_grows_past(size_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_for_an_untold_reason(log):
    """As on a disk that becomes read-only under open files; both reasons are named."""
    say(log, "1")
    for _ in range(2):
        reason = "disk I/O error; make room in .*, or have it mounted for writing"
        with no_file_grows_past(64 * 1024), pytest.raises(LogUnavailable, match=reason):
            say(log, "2" * 100_000)
    assert say(log, "3").number == 2


# Bounds of what it takes.


@pytest.mark.parametrize("size", [1, 100, 700, 1100, 2100, 5000, 60_000])
def test_the_file_is_bounded_whatever_the_size_of_messages(place, size):
    """Three times what is kept, and what is not in it yet."""
    log = place.open(size_bytes=500_000)
    draft = Draft(False, bytes(size))
    for number in range(min(4000, 3_000_000 // (size + 64))):
        log.append(f"topic {number % 50}", draft, MANY)
    assert log.size().bytes <= 500_000
    assert place.file.stat().st_size < 3 * 500_000
    assert place.file.with_name(f"{place.file.name}-wal").stat().st_size < 16_000_000


def test_a_reader_that_does_not_end_does_not_fill_the_disk(place, log):
    """What it may read can't be overwritten; past a limit nothing is appended until it ends."""
    bounds = Bounds(3, 86400.0)
    log.append("t", Draft(True, b"x"), bounds)
    with contextlib.closing(sqlite3.connect(place.file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM entries").fetchone()
        appended = 1
        with pytest.raises(LogUnavailable, match="does not end what it reads"):
            while appended < 60:
                log.append("t", Draft(False, bytes(4_000_000)), bounds)
                appended += 1
        assert log.read("t", 0).last.number == appended
    assert log.append("t", Draft(True, b"x"), bounds).number == appended + 1
    assert place.file.with_name(f"{place.file.name}-wal").stat().st_size < 16_000_000


def test_the_file_shrinks_again(place, log):
    """When most of it is not used, by tidying."""
    for _ in range(200):
        log.append("t", Draft(False, bytes(50_000)), Bounds(1000, 60.0))
    log.tidy()
    assert place.file.stat().st_size > 10_000_000
    place.pass_time(61)
    log.tidy()
    assert place.file.stat().st_size < 2_000_000
    assert place.file.with_name(f"{place.file.name}-wal").stat().st_size < 1_000_000


def test_topics_are_forgotten_when_there_are_too_many(place, log):
    """Their numbers are not given again."""
    bounds = Bounds(1, 60.0)
    for _ in range(7):
        log.append("old", Draft(True, b"x"), bounds, after_gap=True)
    for number in range(10_000):
        log.append(f"topic {number}", Draft(True, b""), bounds)
    place.pass_time(61)
    log.tidy()
    at = log.last_of(["old", "topic 1"])
    assert {(each.generation, each.number) for each in at.values()} == {(7, 7)}
    assert log.read("old", 3).first_number == 8
    assert log.append("topic 1", Draft(True, b""), bounds).number == 8


# Processes.


def test_a_stopped_process_keeps_nobody_from_reading(place, log, start):
    """And when it is killed, nobody from writing."""
    process = start(place)
    process.order("flood_until_killed", "t", "x")
    process.answer()
    process.signal(signal.SIGSTOP)
    assert texts(log)[:1] == ["x 0"]
    process.kill()
    number = log.last_of(["t"])["t"].number
    assert say(log, "after").number == number + 1


def test_a_fork_that_python_does_not_see_spoils_nothing(place, log):
    """The child says so, rather than use the locks of its parent; with another file it goes on."""
    say(log, "1")
    if not (child := ctypes.PyDLL(None).fork()):
        status = 1
        with contextlib.suppress(BaseException):
            with pytest.raises(LogUnavailable, match="forked"):
                say(log, "2")
            place.file.unlink()
            assert say(log, "3").number == 1
            status = 0
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert say(log, "4").number == 2
    assert texts(log) == ["3", "4"]


def test_a_fork_waits_until_another_thread_is_done(place, log):
    """No transaction is cut in two, no opening either, and all go on in parent and child."""
    is_over = threading.Event()
    told = []

    def flood():
        while not is_over.is_set():
            told.append(place.insist(log, "t", "thread", MANY).number)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for _ in range(5):
            if not (child := os.fork()):
                status = 1
                with contextlib.suppress(BaseException):
                    place.insist(log, "t", "child", MANY)
                    status = 0
                os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        is_over.set()
        thread.join()
    assert len(told) == len(set(told))
    page = log.newest("t", 1)
    assert page.last.number == len(told) + 5
