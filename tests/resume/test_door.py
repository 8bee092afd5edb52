"""A client's socket goes to the process that has its handler: once, to its own user's, in time."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_wshandler.resume.door import PASS_ON_TIMEOUT_S, Door
from flask_wshandler.resume.passing import GREETING, MAX_PACKET_BYTES, Answer, encode
from flask_wshandler.runtime import faults
from tests.deadlines import DEADLINE_S, wait_for

from .doors import ROOT, Keeper, descriptors, directory, path_of, send, visit
from .keeper import passed, read_all

NOBODY = 65534
PACKET = encode(passed())
SLACK_S = 1.5
"""For a busy machine."""


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    """A short XDG_RUNTIME_DIR."""
    with tempfile.TemporaryDirectory(prefix="ws-") as path:
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


@pytest.fixture
def start(tmp_path):
    """Start a process with a door: `start()`."""
    keepers = []

    def start():
        keepers.append(Keeper(tmp_path))
        assert keepers[-1].open()
        return keepers[-1]

    yield start
    for keeper in keepers:
        keeper.end()


@pytest.fixture
def make():
    """Make a door of this process, with what it has taken in `taken`."""
    doors = []

    def make(take=None):
        taken = []

        def keep(sock, client):
            taken.append((sock, client))
            return True

        door = Door("test", take or keep)
        door.taken = taken
        doors.append(door)
        return door

    yield make
    for door in doors:
        door.stop()
        for sock, _ in door.taken:
            sock.close()


@pytest.fixture
def client():
    """The two ends of a client's connection: the client's, and the one that is passed on."""
    theirs, ours = socket.socketpair()
    theirs.settimeout(DEADLINE_S)
    with theirs, ours:
        yield theirs, ours


def check_is_ours(client):
    """Nobody else has the socket: what is said is said by this process, and its end is the end."""
    theirs, ours = client
    ours.sendall(b"still ours")
    ours.close()
    assert read_all(theirs) == b"still ours"


# Between processes.


def test_a_socket_reaches_the_process_that_has_the_handler(start):
    """40 of 40, between three processes, with what goes with them."""
    keepers = [start() for _ in range(3)]
    names = [keeper.name() for keeper in keepers]
    seconds = []
    for number in range(40):
        giver, owner = keepers[number % 3], (number + 1 + number // 3 % 2) % 3
        answer, took_s, said = giver.pass_on(names[owner])
        assert (answer, said) == ("TAKEN", f"{keepers[owner].pid} /ws early")
        seconds.append(took_s)
    seconds.sort()
    print(f"{1000 * seconds[20]:.2f} ms in the median, {1000 * seconds[-1]:.2f} at worst")
    assert [keeper.pass_on(keeper.name())[0] for keeper in keepers] == 3 * ["TAKEN"]


def test_what_goes_with_a_socket_arrives(make, client):
    """Everything that the other process is told."""
    owner, giver = make(), make()
    assert owner.open()
    assert giver.pass_on(owner.name, client[1], passed()) is Answer.TAKEN
    [(sock, came)] = owner.taken
    assert came == passed()
    assert not sock.get_inheritable()
    client[1].close()
    sock.sendall(b"hello")
    assert client[0].recv(100) == b"hello"


def test_many_at_once(start):
    """300 from three processes: the door's own queue is shorter."""
    owner, *givers = [start() for _ in range(4)]
    for giver in givers:
        giver.order("pass_at_once", owner.name(), 100)
    answers = [answer for giver in givers for answer in giver.done()]
    assert len(answers) == 300
    wanted = ("TAKEN", f"{owner.pid} /ws early")
    assert {(answer, said) for answer, _, said in answers} == {wanted}
    wait_for(lambda: owner.sockets() == 1, "end of the visits")


@pytest.mark.parametrize("path", ["/refused", "/raises"])
def test_a_socket_that_is_not_taken_is_given_back(start, path):
    """Its end is the end of the connection: the other process has closed its own."""
    owner, giver = start(), start()
    assert giver.pass_on(owner.name(), path)[::2] == ["REFUSED", ""]
    wait_for(lambda: owner.sockets() == 1, "end of the visit")
    assert giver.pass_on(owner.name())[0] == "TAKEN"
    if path == "/raises":
        wait_for(lambda: "SystemExit" in owner.log, "line of the log")


def test_a_killed_process_is_gone(start, make, client):
    """At once, and its socket is cleared away."""
    owner, door = start(), make()
    name = owner.name()
    path = path_of(name)
    owner.kill()
    begin_s = time.monotonic()
    assert door.pass_on(name, client[1], passed()) is Answer.GONE
    assert time.monotonic() - begin_s < SLACK_S
    assert not path.exists()
    assert door.pass_on(name, client[1], passed()) is Answer.GONE
    check_is_ours(client)


def test_what_the_dead_left_is_cleared_by_the_next(start, make):
    """Also where no client asks for them any more; and nothing of the living."""
    dead, living = start(), start()
    path = path_of(dead.name())
    dead.kill()
    assert make().open()
    wait_for(lambda: not path.exists(), "clearing")
    assert path_of(living.name()).exists()


def test_other_apps_clear_it_too(start, make, client):
    """Whatever kind of socket they look with; the living stay."""
    dead = start()
    path = path_of(dead.name())
    other = Door("other", lambda *_: False)
    dead.kill()
    assert other.open()
    try:
        wait_for(lambda: not path.parent.exists(), "clearing")
        owner = make()
        assert owner.open()
        directory("another").clear_others()
        assert make().pass_on(owner.name, client[1], passed()) is Answer.TAKEN
    finally:
        other.stop()


@pytest.mark.parametrize("owner", ["00000000", "", "x", "../../..", "0000000A", "*", "1" * 9, "\0"])
def test_an_owner_that_there_is_not_is_gone(make, client, owner):
    """A client can say whatever it likes."""
    assert make().pass_on(owner, client[1], passed()) is Answer.GONE
    door = make()
    assert door.open()
    assert make().pass_on(owner, client[1], passed()) is Answer.GONE
    check_is_ours(client)


def test_a_stopped_process_is_not_reached(start, make, client):
    """Two seconds; then it is left alone for a while, and takes nothing when it goes on."""
    owner, door = start(), make()
    name = owner.name()
    owner.pause()
    begin_s = time.monotonic()
    assert door.pass_on(name, client[1], passed()) is Answer.UNREACHABLE
    assert PASS_ON_TIMEOUT_S - 0.1 < time.monotonic() - begin_s < PASS_ON_TIMEOUT_S + SLACK_S
    begin_s = time.monotonic()
    assert door.pass_on(name, client[1], passed()) is Answer.UNREACHABLE
    assert time.monotonic() - begin_s < SLACK_S
    owner.signal(signal.SIGCONT)
    assert start().pass_on(name)[0] == "TAKEN"
    check_is_ours(client)


def test_who_says_nothing_holds_up_nobody(start, make, client):
    """More of them than there is room for; each has a second."""
    owner, door = start(), make()
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(100)]
    with contextlib.ExitStack() as opened:
        for each in silent:
            opened.enter_context(each).connect(str(path_of(owner.name())))
        begin_s = time.monotonic()
        assert door.pass_on(owner.name(), client[1], passed()) is Answer.TAKEN
        assert time.monotonic() - begin_s < 1 + SLACK_S / 2
        client[1].close()
        assert read_all(client[0]) == f"{owner.pid} /ws early".encode()
        wait_for(lambda: owner.sockets() == 1, "end of the silent ones")
        assert {each.recv(100) for each in silent} == {GREETING}
        assert {each.recv(100) for each in silent} == {Answer.UNREACHABLE.value}


def test_who_takes_its_time_is_waited_for_no_longer_than_others(make, client):
    """What it has read is its own, however late it says so; nobody else's is given to it."""
    is_over = threading.Event()

    def take(sock, _):
        is_over.wait(DEADLINE_S)
        sock.sendall(b"taken")
        sock.close()
        return True

    owner, giver = make(take), make()
    assert owner.open()
    others, theirs = socket.socketpair()
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(giver.pass_on(owner.name, client[1], passed()))
    )
    with others, theirs, visit(owner.name) as early:
        thread.start()
        wait_for(lambda: owner._visitors._offered, "socket")
        send(early, PACKET, [theirs.fileno()])
        assert make().pass_on(owner.name, theirs, passed()) is Answer.UNREACHABLE
        thread.join(DEADLINE_S)
        assert answers == [Answer.TAKEN]
        is_over.set()
        client[1].close()
        assert read_all(client[0]) == b"taken"
        assert early.recv(10) == Answer.TAKEN.value  # after two seconds, but it was not silent
        assert others.recv(10) == b"taken"


# A process that is not as it should be: one of the test's own in the door's place.


@pytest.fixture
def impostor():
    """A socket that listens as a door, and its name."""
    name = directory().new_name()
    with directory().listen(name) as listener:
        listener.settimeout(DEADLINE_S)
        yield listener, name.partition("-")[2]


BEHAVIOURS = {
    "ends before it greets": (Answer.GONE, lambda link: None),
    "greets otherwise": (Answer.UNREACHABLE, lambda link: link.send(b"hello")),
    "greets as another release": (Answer.UNREACHABLE, lambda link: link.send(GREETING + b"1")),
    "does not wait": (
        Answer.UNREACHABLE,
        lambda link: (link.send(GREETING), link.send(Answer.UNREACHABLE.value)),
    ),
    "does not wait long enough": (
        Answer.UNREACHABLE,
        lambda link: (
            link.send(GREETING),
            wait_for_packet(link),
            link.send(Answer.UNREACHABLE.value),
        ),
    ),
    "ends before it reads": (
        Answer.GONE,
        lambda link: (link.send(GREETING), wait_for_packet(link)),
    ),
    "ends after it has read": (Answer.TAKEN, lambda link: (link.send(GREETING), link.recv(10**5))),
    "answers nonsense": (
        Answer.TAKEN,
        lambda link: (link.send(GREETING), link.recv(10**5), link.send(b"?")),
    ),
    "never answers": (
        Answer.TAKEN,
        lambda link: (link.send(GREETING), link.recv(10**5), link.recv(1)),
    ),
}


def wait_for_packet(link):
    link.recv(1, socket.MSG_PEEK)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_socket_is_never_had_twice(make, client, impostor, behaviour):
    """It is this process's as long as the other one can't have read of it, and no longer."""
    listener, name = impostor
    wanted, behave = BEHAVIOURS[behaviour]

    def be():
        link, _ = listener.accept()
        with link:
            behave(link)

    thread = threading.Thread(target=be)
    thread.start()
    assert make().pass_on(name, client[1], passed()) is wanted
    thread.join(DEADLINE_S)
    if wanted is not Answer.TAKEN:
        check_is_ours(client)


def test_a_full_queue_is_waited_for_in_vain(make, client):
    """Two seconds."""
    place = directory()
    place.make()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        contextlib.ExitStack() as o,
    ):
        listener.bind(place.address("1-0123abcd"))
        listener.listen(0)
        visitor = o.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        visitor.connect(place.address("1-0123abcd"))
        begin_s = time.monotonic()
        assert make().pass_on("0123abcd", client[1], passed()) is Answer.UNREACHABLE
        assert time.monotonic() - begin_s < PASS_ON_TIMEOUT_S + SLACK_S
    check_is_ours(client)


def test_what_can_not_be_passed_is_unreachable(make, client, caplog):
    """A packet that is too large, a socket that is closed; nothing is raised."""
    owner, giver = make(), make()
    assert owner.open()
    large = passed(data=b"x" * MAX_PACKET_BYTES)
    assert giver.pass_on(owner.name, client[1], large) is Answer.UNREACHABLE
    assert giver.pass_on(owner.name, client[1], passed("/" * 5000)) is Answer.UNREACHABLE
    client[1].close()
    assert giver.pass_on(owner.name, client[1], passed()) is Answer.UNREACHABLE
    assert giver.pass_on(owner.name, None, passed()) is Answer.UNREACHABLE
    assert len(caplog.records) == 4
    assert owner.taken == []


# Hostile packets.


@pytest.fixture(scope="module")
def besieged():
    """A door that stands for a whole module's packets, and counts what it has taken."""
    with tempfile.TemporaryDirectory(prefix="ws-") as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", path)

        def take(sock, client):
            sock.close()
            return True

        door = Door("test", take)
        before = descriptors()
        assert door.open()
        visit(door.name).close()  # what is cleared up at first is done then
        wait_for(lambda: len(descriptors() - before) == 1, "end of the visit")
        yield door, path
        door.stop()


def answer_to(door, packet, kinds, more=b""):
    """What is answered to a packet with descriptors of these kinds; None where that is lost.

    A second packet, which nobody reads, has the kernel reset what it came on.
    """
    made = [KINDS[kind]() for kind in kinds]
    try:
        with visit(door.name) as link:
            send(link, packet, [each.fileno() for each in made])
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                if more:
                    send(link, more, [each.fileno() for each in made])
            try:
                return link.recv(100)
            except ConnectionResetError:
                return None if more else b""
    finally:
        for each in made:
            each.close()


KINDS = {
    "stream": socket.socket,
    "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "seqpacket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "file": tempfile.TemporaryFile,
    "directory": lambda: OpenDirectory(),
}


class OpenDirectory:
    def __init__(self):
        self._number = os.open("/", os.O_RDONLY)

    def fileno(self):
        return self._number

    def close(self):
        os.close(self._number)


@settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.just(PACKET)
    | st.binary(max_size=100)
    | st.builds(lambda n: PACKET[:n], st.integers(0, len(PACKET)))
    | st.builds(lambda n: PACKET + bytes(n), st.integers(0, 2 * MAX_PACKET_BYTES)),
    st.lists(st.sampled_from(list(KINDS)), max_size=3),
    st.sampled_from([b"", PACKET]),
)
def test_no_packet_leaves_a_descriptor(besieged, packet, kinds, more):
    """Whatever comes, with whatever descriptors: it is closed, but one client's socket."""
    door, path = besieged
    os.environ["XDG_RUNTIME_DIR"] = path
    before = descriptors()
    answer = answer_to(door, packet, kinds, more)
    is_good = packet.startswith(PACKET) and len(packet) <= MAX_PACKET_BYTES
    if is_good and kinds in (["stream"], ["unix"]):
        wanted = Answer.TAKEN.value
    else:
        wanted = Answer.REFUSED.value if packet or kinds else b""
    assert answer == wanted or (more and answer is None)
    wait_for(lambda: descriptors() <= before, "end of the visit")


def test_250_descriptors_at_once(make):
    """More than any buffer has room for: the kernel closes them, and the packet is refused."""
    door = make()
    before = descriptors()
    assert door.open()
    assert answer_to(door, PACKET, ["stream"] * 250) == Answer.REFUSED.value
    wait_for(lambda: len(descriptors() - before) == 1, "end of the visit")
    assert door.taken == []


def test_a_malformed_packet_is_counted_and_logged_once(make, caplog):
    """Not each of them."""
    door = make()
    assert door.open()
    before = faults.counts().get("door", 0)
    for _ in range(5):
        assert answer_to(door, b"hello", ["stream"]) == Answer.REFUSED.value
    assert faults.counts()["door"] == before + 5
    wait_for(lambda: caplog.records, "line of the log")
    assert len([r for r in caplog.records if "no client" in r.getMessage()]) == 1


# Other users.


AS_NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
    link.settimeout(20)
    try:
        link.connect(sys.argv[1])
    except PermissionError:
        print("no way in")
    else:
        try:
            print(link.recv(100))
        except ConnectionResetError:
            print(b"")
"""

LISTENS_AS_NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("ready", flush=True)
    link, _ = listener.accept()
    with link:
        try:
            link.send(sys.argv[2].encode())
            print(link.recvmsg(100, 100)[:2])
        except (BrokenPipeError, ConnectionResetError):
            print((b"", []))
"""


def as_root():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")


def let_all_in(runtime, mode):
    for path in (runtime, runtime / "flask-wshandler", directory().path):
        path.chmod(mode)


def test_another_user_does_not_get_in(start, runtime):
    """Not into the directory; and where that stands open, the door has nothing to say."""
    as_root()
    owner = start()
    path = path_of(owner.name())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def visit_as_nobody():
        command = [sys.executable, "-c", AS_NOBODY, path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert visit_as_nobody() == "no way in"
    let_all_in(runtime, 0o777)
    path.chmod(0o666)
    assert visit_as_nobody() == "b''"


@pytest.mark.parametrize("mode", [0o777, 0o700])
def test_another_user_is_given_nothing(make, client, runtime, mode):
    """It has made a socket there while the directory stood open, or it stands open still."""
    as_root()
    directory().make()
    let_all_in(runtime, 0o777)
    address = directory().address("1-0123abcd")
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS_AS_NOBODY, address, GREETING.decode()],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        let_all_in(runtime, mode)
        assert make().pass_on("0123abcd", client[1], passed()) is Answer.UNREACHABLE
        if mode == 0o700:
            assert process.stdout.readline() == "(b'', [])\n"
        process.kill()
    check_is_ours(client)


def test_a_process_that_becomes_another_users_moves(start, runtime):
    """A server that has bound its port as root; who stays root does not find it any more."""
    as_root()
    runtime.chmod(0o777)
    owner, giver = start(), start()
    owner.become(NOBODY)
    name = owner.name()
    wait_for(lambda: list(runtime.glob(f"flask-wshandler-{NOBODY}/*/*-{name}")), "door")
    assert owner.pass_on(name)[0] == "TAKEN"
    giver.become(NOBODY)
    assert giver.pass_on(name)[0] == "TAKEN"


# What becomes of a process, and of what it has.


def test_a_forked_child_has_a_door_of_its_own(start):
    """Nothing of its parent's, whose door stays open when the child's has gone."""
    owner, giver = start(), start()
    child, name, sockets, is_open = owner.fork()
    assert name != owner.name()
    assert sockets == 0
    assert is_open
    assert giver.pass_on(name)[::2] == ["TAKEN", f"{child} /ws early"]
    assert giver.pass_on(owner.name())[::2] == ["TAKEN", f"{owner.pid} /ws early"]
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: giver.pass_on(name)[0] == "GONE", "end of the child")
    assert giver.pass_on(owner.name())[0] == "TAKEN"


def test_a_child_that_is_forked_amid_a_passing_has_nothing_of_it(start):
    """Else the client's connection would not end before that child does."""
    owner, giver = start(), start()
    assert giver.pass_on(owner.name(), "/forks")[::2] == ["TAKEN", f"{owner.pid} /forks early"]
    child, _, sockets, _ = owner.last_child()
    os.kill(child, signal.SIGKILL)
    assert sockets == 0


def test_a_removed_directory_comes_back(start, runtime):
    """Somebody has tidied up."""
    owner, giver = start(), start()
    name = owner.name()
    shutil.rmtree(runtime / "flask-wshandler")
    assert giver.pass_on(name)[0] == "GONE"
    wait_for(lambda: giver.pass_on(name)[0] == "TAKEN", "door")
    wait_for(lambda: list(directory().path.glob(f"*-{giver.name()}")), "door of the other one")


def test_it_opens_when_the_directory_is_put_right(make, client, runtime, caplog):
    """Without another call, and with one line in the log for each change."""
    caplog.set_level("INFO")
    (runtime / "flask-wshandler").mkdir(0o755)
    door = make()
    assert not door.open()
    assert not door.open()
    assert "0700" in door.trouble
    (runtime / "flask-wshandler").chmod(0o700)
    wait_for(door.open, "opening")
    assert make().pass_on(door.name, client[1], passed()) is Answer.TAKEN
    assert door.trouble == ""
    wait_for(lambda: len(caplog.records) > 1, "line of the log")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_without_descriptors_it_waits_for_better_times(start):
    """None to accept with, or none for the socket; a second later all is well."""
    owner, giver, another = start(), start(), start()
    name = owner.name()
    owner.run_out(0)
    assert giver.pass_on(name)[::2] == ["UNREACHABLE", ""]
    owner.have_again()
    wait_for(lambda: another.pass_on(name)[0] == "TAKEN", "door")
    wait_for(lambda: owner.sockets() == 1, "end of the visit")
    owner.run_out(1)
    assert another.pass_on(name)[::2] == ["UNREACHABLE", ""]
    owner.have_again()
    assert another.pass_on(name)[0] == "TAKEN"
    assert owner.pass_on_without_descriptors(another.name())[::2] == ["UNREACHABLE", ""]
    owner.have_again()
    assert owner.pass_on(another.name())[0] == "TAKEN"


def test_stop_leaves_nothing(make, client, runtime):
    """No thread, no descriptor, no file; who has knocked is told that nobody is there."""
    before = descriptors()
    door, giver = make(), make()
    assert door.open()
    name = door.name
    with visit(name) as link:
        door.stop()
        assert link.recv(1) == b""
    assert not door._thread.is_running
    assert descriptors() <= before
    assert list(runtime.iterdir()) == []
    assert giver.pass_on(name, client[1], passed()) is Answer.GONE
    door.stop()
    assert not door.open()
    check_is_ours(client)


def test_after_a_stop_nothing_is_taken(make, client):
    """What waits behind a slow one is given back, though it was sent before."""
    begun, is_over = threading.Event(), threading.Event()
    taken = []

    def take(sock, _):
        taken.append(sock)
        begun.set()
        return not is_over.wait(DEADLINE_S)

    door, giver = make(take), make()
    assert door.open()
    with contextlib.ExitStack() as visits:
        links = [visits.enter_context(visit(door.name)) for _ in range(3)]
        for link in links:
            send(link, PACKET, [client[1].fileno()])
        assert begun.wait(DEADLINE_S)
        stopping = threading.Thread(target=door.stop)
        stopping.start()
        wait_for(lambda: giver.pass_on(door.name, client[1], passed()) is Answer.GONE, "end")
        is_over.set()
        stopping.join(DEADLINE_S)
        told = []
        for link in links:
            with contextlib.suppress(ConnectionResetError):
                told.append(link.recv(10))
    assert told == [Answer.REFUSED.value]
    assert len(taken) == 1
    check_is_ours(client)


def test_stop_before_it_was_opened(make):
    """A process without clients that return."""
    door = make()
    door.stop()
    assert not door.open()


@pytest.mark.parametrize("end", ["stop", "kill", "end"])
def test_at_an_end_amid_many_each_socket_is_somebodys(start, end):
    """Taken and told so, or given back; and after the end nobody is waited for."""
    owner, giver = start(), start()
    name = owner.name()
    giver.order("pass_until_gone", name, 8)
    wait_for(lambda: owner.count() > 100, "hundred")
    if end == "stop":
        owner.stop()
    elif end == "kill":
        owner.kill()
    else:
        owner.end()
    answers = giver.done()
    told = {(answer, said) for answer, _, said in answers}
    taken = ("TAKEN", f"{owner.pid} /ws early")
    # Killed amid a passing: the client's connection ends.
    assert told <= {taken, ("GONE", ""), *([("TAKEN", "")] if end == "kill" else [])}
    assert {("GONE", ""), taken} <= told
    assert max(seconds for _, seconds, _ in answers) < SLACK_S


def test_opening_twice_and_by_many_threads_is_once(make):
    """One socket, one thread."""
    door = make()
    threads = [threading.Thread(target=door.open) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert door.open()
    assert len(list(directory().path.iterdir())) == 1


# Where it can't be done.


@pytest.mark.parametrize("name", ["SO_PEERCRED", "SCM_RIGHTS", "SOCK_SEQPACKET", "AF_UNIX"])
def test_a_system_that_can_not_pass_sockets(make, client, monkeypatch, caplog, name):
    """It is said once, and nothing is opened."""
    caplog.set_level("INFO")
    monkeypatch.delattr(socket, name)
    door = make()
    assert not door.open()
    assert not door.open()
    assert door.pass_on("0123abcd", client[1], passed()) is Answer.UNREACHABLE
    assert "this system" in door.trouble
    wait_for(lambda: caplog.records, "line of the log")
    assert len(caplog.records) == 1


ELSEWHERE = """
import socket
from flask_wshandler.resume.door import Door
from tests.resume.keeper import passed
door = Door("test", lambda *_: False)
with socket.socket() as ours:
    print(door.open(), door.pass_on("0123abcd", ours, passed()).name, door.trouble)
"""
LIKE_WINDOWS = """
import select, socket
del select.poll, socket.AF_UNIX, socket.SCM_RIGHTS, socket.SO_PEERCRED, socket.MSG_CMSG_CLOEXEC
"""
PATCHED = "from gevent import monkey; monkey.patch_all()\n"
PATCHED_SOCKETS = "from gevent import monkey; monkey.patch_socket()\n"
PATCHED_THREADS = "from gevent import monkey; monkey.patch_thread()\n"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (LIKE_WINDOWS, "this system"),
        (PATCHED, "replaced"),
        (PATCHED_SOCKETS, "replaced"),
        (PATCHED_THREADS, "replaced"),
    ],
    ids=["Windows", "gevent", "its sockets", "its threads"],
)
def test_another_system_or_greenlets(tmp_path, before, reason):
    """Nothing is opened, and nobody reached."""
    script = tmp_path / "script.py"
    script.write_text(before + ELSEWHERE)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.stdout.startswith("False UNREACHABLE "), done.stderr
    assert reason in done.stdout
