"""Places in logs at the server: what is dropped, kept, handed over and refused."""

import base64

import pytest

from flask_wshandler.protocol.frames import message_frame
from flask_wshandler.resume.endpoint import Return
from flask_wshandler.resume.leg import numbered_message
from flask_wshandler.resume.places import Places
from flask_wshandler.resume.releasing import parse_answer

from .rig import Site, logged

STREAM = "0a1b2c3d4e5f"
PLACE = f"{STREAM}.1"


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("is_away", [True, False])
def test_what_a_full_queue_drops_of_a_log_has_no_number(policy, is_away):
    """It is missing as any other; what arrives has its own place, and is counted right."""
    site = Site(resume_s=60.0, max_queue_size=600, resume_buffer=600, queue_policy=policy)
    wire = site.connect(capacity=300)
    site.serve()
    connection = site.connection
    if is_away:
        wire.lose()
        site.serve()
    for number in range(1, 40):
        connection.deliver(logged(f"{number}", f"{STREAM}.{number:x}"))
    if is_away:
        wire = site.connect(Return(connection.session, 0, 0, 1))
    else:
        wire.take(10**6)
    site.serve()
    arrived = [message for message in wire.messages() if message[0] == "@"]
    assert connection.dropped_messages == 39 - len(arrived) > 0
    assert connection.sent_messages == len(arrived) > 0
    places = [message[1:].partition("\n") for message in arrived]
    assert [f"{STREAM}.{int(text):x}" for _, _, text in places] == [place for place, _, _ in places]
    assert (arrived[-1] == f"@{STREAM}.27\n39") == (policy == "drop_oldest")


def test_the_message_of_a_log_is_made_once():
    """However many clients it is for; and what is in no log has the letter only."""
    message = logged(b"\xff", PLACE)
    assert numbered_message(message) is numbered_message(message)
    assert numbered_message(message).payload == f"@{PLACE}\n".encode() + b"\xff"
    assert numbered_message(logged("x", None)).payload == b"mx"


GOOD = [
    message_frame("mx"),
    message_frame(b"m"),
    message_frame(f"@{PLACE}\n"),
    message_frame(f"@{PLACE}\nx" * 50),
    message_frame(f"@{PLACE}\n".encode() + b"\xff" * 70_000),
    message_frame(f"@{PLACE}"),
    message_frame(f"g{PLACE}"),
]
BAD = [
    message_frame(f"@{PLACE}" + "2" * 64),
    message_frame(f"@{STREAM}\nx"),
    message_frame("@s.1\nx"),
    message_frame(f"@{PLACE}2".encode()),
    message_frame(f"@{PLACE}\xff\n".encode("latin-1")),
    message_frame(f"g{PLACE}\n"),
    message_frame(f"g{PLACE}".encode()),
    message_frame("g"),
    message_frame("p"),
    message_frame("a1"),
    message_frame("h{}"),
    b"\x81\x02@\xff",
    b"",
]


def answer(*frames):
    kept = [base64.b64encode(frame).decode() for frame in frames]
    return {"is_released": True, "received": 0, "sent": len(kept), "kept": kept}


def test_what_was_kept_elsewhere_goes_on():
    """Frames that have numbers."""
    assert parse_answer(answer(*GOOD)).kept == tuple(GOOD)


@pytest.mark.parametrize("frame", BAD)
def test_what_has_no_number_does_not(frame):
    """Whatever another process says, no client is sent anything else."""
    assert parse_answer(answer(GOOD[0], frame)) is None


class TestPlaces:
    def test_are_given_once(self):
        """A collection that takes its own leaves the others."""
        places = Places([(STREAM, "1.2"), ("f" * 12, "3")])
        assert places.pop("0" * 12) is None
        assert places.pop(STREAM) == "1.2"
        assert places.pop(STREAM) is None
        assert places.items() == [("f" * 12, "3")]
        assert places.pop("f" * 12) == "3"
        assert not places

    def test_of_one_log_the_last_counts(self):
        """What is on its way is behind what has arrived."""
        assert Places([(STREAM, "1"), (STREAM, "2")]).items() == [(STREAM, "2")]
