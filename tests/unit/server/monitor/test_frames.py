"""Messages as bytes, plain and compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.server.monitor.frames import Gzip, Plain, accepts_gzip, comment, message

FRAMES = [message({"type": "delta", "n": n, "text": "x" * n}, f"e:{n}-0:k") for n in range(5)]


def test_a_message_is_an_unnamed_event_that_no_browser_drops() -> None:
    assert message({"type": "new", "at": 1}, "e:1-0:k").plain == (
        b'id: e:1-0:k\ndata: {"type":"new","at":1}\n\n'
    )


def test_line_breaks_in_a_text_do_not_end_the_message() -> None:
    assert message({"type": "a", "words": "one\n\ntwo\r"}).plain.count(b"\n") == 2


def test_a_comment_may_say_when_to_come_back() -> None:
    assert comment("hi", retry_ms=500).plain == b": hi\n\nretry: 500\n\n"


@given(choices=st.lists(st.lists(st.sampled_from(FRAMES), max_size=6), min_size=1, max_size=4))
def test_any_viewers_share_compressed_frames(choices: list[list[object]]) -> None:
    """Each joins at another time and gets other frames; each can read its own."""
    for frames in choices:
        stream, sent = Gzip(), b""
        sent += stream.begin()
        for frame in frames:
            sent += stream.add(frame)
        seen_before_the_end = zlib.decompressobj(31).decompress(sent)
        sent += stream.end()

        plain = b"".join(frame.plain for frame in frames)
        assert seen_before_the_end == plain
        assert gzip.decompress(sent) == plain


def test_a_plain_stream_adds_nothing() -> None:
    stream = Plain()

    assert stream.begin() + stream.add(FRAMES[1]) + stream.end() == FRAMES[1].plain


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("br", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=often", False),
        ("", False),
    ],
)
def test_compresses_only_for_those_that_ask(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
