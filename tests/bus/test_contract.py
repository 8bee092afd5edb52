"""What every bus promises, with real processes."""

import base64
import os
import random
import signal

from flask_wshandler.bus.envelope import MAX_ENVELOPE_BYTES
from tests.deadlines import wait_for

from .member import digest


def test_reaches_every_other_process_and_not_the_sender(join):
    """Each once."""
    members = [join("t") for _ in range(4)]
    members[0].say("t", "hello")
    members[0].say("t", "bye")
    for member in members[1:]:
        member.wait_for_texts("t", ["hello", "bye"])
    assert members[0].count() == 0
    assert members[0].stats()["published"] == 2


def test_only_what_is_subscribed_to_comes(join):
    """Also after it was unsubscribed from."""
    alice, bob = join("one", "two"), join("three")
    bob.say("other", "no")
    bob.say("one", "yes")
    alice.wait_for_texts("one", ["yes"])
    assert alice.unsubscribe("one")
    bob.say("one", "no")
    bob.say("two", "yes")
    alice.wait_for_texts("two", ["yes"])
    assert alice.texts("one") == ["yes"]
    assert alice.subscribe("one")
    bob.say("one", "again")
    wait_for(lambda: alice.texts("one") == ["yes", "again"], "message")


def test_arrives_byte_for_byte(join):
    """Any kind, any size, any bytes."""
    alice, bob = join("t"), join("t")
    dice = random.Random(1)
    sent = []
    for size in [0, 1, 2, 255, 256, 65_535, 65_536, 300_000, 2_000_000]:
        body = base64.b64encode(dice.randbytes(size)).decode()
        sent.append(["t", 2, body])
        bob.publish("t", body, 2)
    wait_for(lambda: alice.count() == len(sent), "messages")
    assert alice.take() == sent


def test_keeps_the_order_of_each_sender(join):
    """While three publish at once."""
    receiver = join("t")
    senders = [join() for _ in range(3)]
    for number, sender in enumerate(senders):
        sender.order("flood", "t", f"sender{number}", 3000)
    for sender in senders:
        sender.done()
    wait_for(lambda: receiver.count() == 9000, "messages")
    texts = receiver.texts("t")
    for number in range(3):
        own = [text for text in texts if text.startswith(f"sender{number} ")]
        assert own == [f"sender{number} {each}" for each in range(3000)]


def test_a_newcomer_misses_nothing_from_then_on(join):
    """Who has subscribed is reached by the next message of anybody."""
    speaker = join("t")
    for number in range(5):
        newcomer = join("t")
        speaker.say("t", str(number))
        newcomer.wait_for_texts("t", [str(number)])


def test_a_script_publishes_and_ends(join):
    """What was published is not lost because the process ends at once."""
    listener = join("t")
    for number in range(5):
        script = join()
        script.order("flood", "t", f"script{number}", 200)
        assert script.end() == ""
    expected = [f"script{number} {each}" for number in range(5) for each in range(200)]
    listener.wait_for_texts("t", expected)


def test_a_killed_process_takes_nothing_with_it(join, network):
    """The others go on; nothing is doubled, and what it left behind is cleared away."""
    alice, bob, victim = join("t"), join("t"), join("t")
    alice.say("t", "before")
    for member in (bob, victim):
        member.wait_for_texts("t", ["before"])
    victim.kill()
    alice.flood("t", "after", 100)
    successor = join("t")
    alice.say("t", "end")
    bob.wait_for_texts("t", ["before", *(f"after {number}" for number in range(100)), "end"])
    successor.wait_for_texts("t", ["end"])
    if network.kind == "local":
        assert len(list(network.directory.iterdir())) == 3


def test_a_stopped_process_holds_up_nobody(join):
    """Fifty thousand messages while one does not take any; later it gets some, in order."""
    sender, bystander, sleeper = join("t"), join("t"), join("t")
    sleeper.signal(signal.SIGSTOP)
    texts = [f"m {number}" for number in range(50_000)]
    sender.flood("t", "m", 50_000)
    wait_for(lambda: bystander.count() == 50_000, "messages")
    assert bystander.texts("t") == texts
    sleeper.signal(signal.SIGCONT)
    sender.say("t", "end")
    wait_for(lambda: sleeper.texts("t")[-1:] == ["end"], "message")
    *got, _ = [int(text.split()[1]) for text in sleeper.texts("t") if text != "end"] or [0, 0]
    assert got == sorted(set(got))


def test_the_queue_is_bounded_and_what_is_dropped_is_counted(join, network):
    """The oldest go; the newest is always kept."""
    sender, sleeper = join("t", max_queue_bytes=100_000), join("t")
    if network.kind == "local":
        sleeper.signal(signal.SIGSTOP)
    else:
        network._server.process.send_signal(signal.SIGSTOP)
    sender.flood("t", "m", 20_000)
    sender.say("t", "end")
    dropped = sender.stats()["dropped"]
    assert dropped > 0
    if network.kind == "local":
        sleeper.signal(signal.SIGCONT)
    else:
        network._server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: sleeper.texts("t")[-1:] == ["end"], "message")
    texts = sleeper.texts("t")
    assert len(texts) + dropped == 20_001
    assert texts == [*sorted(texts[:-1], key=lambda text: int(text[2:])), "end"]
    assert "dropped" in sender.end()


def test_survives_the_loss_of_what_it_runs_on(join, network):
    """Nothing waits meanwhile, and one line in the log tells of each change."""
    alice, bob = join("t"), join("t")
    alice.say("t", "before")
    bob.wait_for_texts("t", ["before"])
    network.lose()
    for member in (alice, bob):
        wait_for(lambda member=member: not member.stats()["is_up"], "sign of the loss")
    alice.flood("t", "lost", 100)
    network.restore()
    for member in (alice, bob):
        wait_for(lambda member=member: member.stats()["is_up"], "return")
    carol = join("t")
    alice.say("t", "after")
    carol.wait_for_texts("t", ["after"])
    wait_for(lambda: bob.texts("t")[-1] == "after", "message")
    texts = bob.texts("t")
    assert texts == sorted(set(texts), key=texts.index)  # none twice
    for member in (alice, bob):
        log = member.end()
        assert log.count(" is down: ") == 1, log
        assert log.count(" is back: ") == 1, log


def test_what_is_no_envelope_is_dropped_counted_and_logged(join, network):
    """Once for each reason, and never evaluated."""
    alice, bob = join("t"), join("t")
    sender = os.urandom(8)
    faults = [
        b"",
        b"\x80\x04\x95cposix\nsystem",  # a pickle
        b"\x02\x01" + sender + b"\x00\x01t",  # another version
        b"\x01\x63" + sender + b"\x00\x01t",  # an unknown kind
        b"\x01\x01" + sender + b"\xff\xfft",  # a topic that is longer than all
        b"\x01\x01" + sender + b"\x00\x02\xff\xfe",  # a topic that is no UTF-8
    ]
    for fault in faults * 3:
        network.inject(fault)
    alice.say("t", "still there")
    bob.wait_for_texts("t", ["still there"])
    wait_for(lambda: bob.stats()["malformed"] == 18, "18 faults")
    log = bob.end()
    assert log.count("dropped what is no envelope") == len(faults), log
    assert "version 2" in log


def test_too_large_a_message_is_refused(join):
    """At the call, with the limit."""
    alice = join()
    alice.order("publish", "t", base64.b64encode(bytes(32 * 2**20)).decode())
    alice.process.wait(20)
    assert "33554432" in alice.log


def of_seed(size, seed):
    return [size, digest(random.Random(seed).randbytes(size))]


def test_the_largest_message_arrives_and_nothing_overtakes_it(join):
    """Up to the limit that is told; what its sender says next comes next, and none is dropped."""
    alice, bob, carol = join("t"), join("t"), join("t")
    largest = MAX_ENVELOPE_BYTES - 13
    sizes = [largest, 3, 4, 5]
    for size in sizes:
        alice.order("publish_large", "t", size, size)
    for _ in sizes:
        alice.done()
    for member in (bob, carol):
        wait_for(lambda member=member: member.count() == len(sizes), "messages")
        assert member.digests() == [of_seed(size, size) for size in sizes]
        assert member.stats()["is_up"]


def test_large_messages_of_several_senders_at_once(join):
    """Each arrives whole, in the order of its sender."""
    receiver = join("t")
    senders = [join() for _ in range(3)]
    sizes = [3_000_000, 5_000_000, 7]
    for number, sender in enumerate(senders):
        for size in sizes:
            sender.order("publish_large", "t", size, number)
    for sender in senders:
        for _ in sizes:
            sender.done()
    wait_for(lambda: receiver.count() == 9, "messages")
    came = receiver.digests()
    for number in range(3):
        expected = [of_seed(size, number) for size in sizes]
        assert [each for each in came if each in expected] == expected
    assert receiver.stats()["dropped"] == 0


def test_a_forked_child_is_a_process_of_its_own(join):
    """It reaches its parent, and leaves its parent's connections alone."""
    alice, bob = join("t"), join("t")
    alice.fork("t")
    alice.say("t", "from the parent")
    bob.wait_for_texts("t", ["from the child", "from the parent"])
    alice.wait_for_texts("t", ["from the child"])
    bob.say("t", "to the parent")
    wait_for(lambda: alice.texts("t") == ["from the child", "to the parent"], "message")


def test_close_ends_what_was_started(join):
    """Threads and descriptors."""
    alice = join()
    threads, descriptors = alice.threads(), alice.descriptors()
    bob = join("t")
    alice.subscribe("t")
    bob.say("t", "hello")
    alice.wait_for_texts("t", ["hello"])
    assert alice.threads() > threads
    alice.close()
    wait_for(lambda: alice.threads() == threads, "end of threads")  # the system's, not Python's
    # redis-py's module of TLS or DNS may keep one open.
    wait_for(lambda: alice.descriptors() <= descriptors + 1, "end of descriptors")
