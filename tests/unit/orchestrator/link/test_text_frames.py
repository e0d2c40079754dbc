"""Text frames are decoded past the library; everything else reaches it unchanged."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.orchestrator.link.text_frames import TextFrameReader
from support.text_frame_model import split_slowly

LIMIT = 70_000


def framed(payload: bytes, first: int = 0x81) -> bytes:
    """One unmasked frame."""
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 2**16:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


class Texts(list[str]):
    """Collects texts while there is room for them."""

    def __init__(self, room: int = 10**9) -> None:
        super().__init__()
        self.room = room

    def take(self, frames: list[bytes]) -> bool:
        self += [frame.decode() for frame in frames]
        return len(self) < self.room


def split(content: bytes, size: int = 10**9) -> tuple[list[str], bytes]:
    """The texts, and the bytes for the library, if ``content`` arrives in these pieces."""
    texts = Texts()
    reader = TextFrameReader(texts.take, limit=LIMIT)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    for_library = b"".join(bytes(reader.split(piece)) for piece in pieces)
    return list(texts), for_library


PING, PONG, CLOSE = framed(b"x", 0x89), framed(b"", 0x8A), framed(b"\x03\xe8", 0x88)
MASKED = b"\x81\x81\x00\x00\x00\x00a"


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, LIMIT])
def test_a_text_of_any_length_is_taken(length: int) -> None:
    text = "x" * length

    assert split(framed(text.encode())) == ([text], b"")


def test_texts_are_taken_in_order_and_decoded() -> None:
    texts = ["a", "", "Zoë", "\N{GRINNING FACE}" * 50]

    assert split(b"".join(framed(text.encode()) for text in texts)) == (texts, b"")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_it_does_not_matter_where_the_stream_is_cut(size: int) -> None:
    texts = ["a" * 10, "b" * 200, "c" * 70_000]
    content = b"".join(framed(text.encode()) + PING for text in texts)

    assert split(content, size) == (texts, PING * 3)


@pytest.mark.parametrize("control", [PING, PONG], ids=["ping", "pong"])
def test_pings_and_pongs_are_the_library_s_and_texts_go_on(control: bytes) -> None:
    assert split(framed(b"a") + control + framed(b"b") + control) == (["a", "b"], control * 2)


@pytest.mark.parametrize(
    "foreign",
    [
        CLOSE,
        framed(b"frag", 0x01),
        framed(b"ment", 0x80),
        framed(b"\x00\x01", 0x82),
        framed(b"compressed", 0xC1),
        framed(b"caf\xe9"),
        framed(b"\xed\xa0\x80"),
        framed(b"x" * (LIMIT + 1)),
        framed(b"?", 0x83),
        MASKED,
    ],
    ids=[
        *("close", "first fragment", "last fragment", "binary", "extension", "no UTF-8", "surrogate"),
        *("too large", "unknown opcode", "masked"),
    ],
)
def test_a_frame_that_only_the_library_can_decode_goes_to_it_with_all_that_follow(foreign: bytes) -> None:
    following = foreign + framed(b"c") + PING

    assert split(framed(b"a") + PING + framed(b"b") + following) == (["a", "b"], PING + following)


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    head = framed(b"x" * (LIMIT + 1))[:20]

    assert split(head) == ([], head)


def test_it_stops_when_there_is_no_room_and_goes_on_where_it_was() -> None:
    texts = Texts(room=2)
    reader = TextFrameReader(texts.take, limit=LIMIT, portion_frames=1)
    content = b"".join(framed(text.encode()) for text in "abcde")

    assert reader.split(content + PING) == b""
    assert (list(texts), reader.is_full) == (["a", "b"], True)
    texts.room = 4
    assert reader.split() == b""
    assert (list(texts), reader.is_full) == (["a", "b", "c", "d"], True)
    texts.room = 9
    assert reader.split() == PING
    assert (list(texts), reader.is_full) == (["a", "b", "c", "d", "e"], False)


frames = st.lists(
    st.text(max_size=5).map(lambda text: framed(text.encode()))
    | st.sampled_from([PING, PONG, CLOSE, MASKED, framed(b"x" * 300), framed(b"x", 0x01), framed(b"\xff")])
    | st.binary(max_size=3),
    max_size=8,
)


@given(frames, st.integers(1, 40), st.integers(1, 3))
def test_nothing_is_lost_doubled_or_reordered(pieces: list[bytes], size: int, room: int) -> None:
    content = b"".join(pieces)
    texts = Texts(room)
    reader = TextFrameReader(texts.take, limit=LIMIT)
    passed = b""
    for start in range(0, len(content), size):
        passed += reader.split(content[start : start + size])
        while reader.is_full:
            texts.room = len(texts) + room
            passed += reader.split()

    expected_texts, expected_bytes = split(content)
    assert list(texts) == expected_texts
    assert passed == expected_bytes


@given(frames, st.integers(1, 40), st.integers(1, 3))
def test_any_bytes_cut_anywhere_are_split_as_by_the_slow_model(
    pieces: list[bytes], size: int, portion: int
) -> None:
    content = b"".join(pieces)
    texts = Texts()
    reader = TextFrameReader(texts.take, limit=LIMIT, portion_frames=portion)
    passed = b"".join(reader.split(content[start : start + size]) for start in range(0, len(content), size))

    expected, for_library = split_slowly(content, LIMIT)
    assert (list(texts), passed) == ([text.decode() for text in expected], for_library)
