"""The decisions of the heartbeat."""

import json
from datetime import UTC, datetime

import pytest

from aintandem_notify.domain.events import BinaryFrame
from aintandem_notify.orchestrator.link.heartbeat import (
    MAX_CONTROL_LENGTH,
    PING,
    PONG,
    HeartbeatAction,
    HeartbeatState,
    control_frame,
    control_type,
    may_hold_control,
    next_action,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last_received_at", "pinged_at", "now", "beat", "wait"),
    [
        (0.0, 0.0, 0.0, HeartbeatAction.WAIT, 30.0),
        (0.0, 0.0, 29.0, HeartbeatAction.WAIT, 1.0),
        (0.0, 0.0, 30.0, HeartbeatAction.PING, 0.0),
        (0.0, 30.0, 30.0, HeartbeatAction.WAIT, 30.0),
        (0.0, 60.0, 60.0, HeartbeatAction.WAIT, 15.0),  # the connection counts as dead before the next ping
        (0.0, 60.0, 74.0, HeartbeatAction.WAIT, 1.0),
        (0.0, 60.0, 75.0, HeartbeatAction.DEAD, 0.0),
        (0.0, 0.0, 80.0, HeartbeatAction.DEAD, 0.0),  # a dead connection gets no ping
        (74.0, 60.0, 75.0, HeartbeatAction.WAIT, 15.0),  # any frame proves that the peer is alive
    ],
)
def test_the_next_action(
    last_received_at: float, pinged_at: float, now: float, beat: HeartbeatAction, wait: float
) -> None:
    assert next_action(HeartbeatState(30.0, last_received_at, pinged_at), now) == (beat, wait)


@pytest.mark.parametrize(
    ("now", "beat", "wait"),
    [(80.0, HeartbeatAction.WAIT, 10.0), (90.0, HeartbeatAction.PING, 0.0), (900.0, HeartbeatAction.PING, 0.0)],
)
def test_no_verdict_while_our_reader_pauses(now: float, beat: HeartbeatAction, wait: float) -> None:
    assert next_action(HeartbeatState(30.0, 0.0, 60.0, paused=True), now) == (beat, wait)


def test_waiting_always_gets_somewhere() -> None:
    """For all times, a wait is longer than 0 s, so that there is no busy loop."""
    for tenths in range(1000):
        beat, wait = next_action(HeartbeatState(30.0, 0.0, 60.0), tenths / 10)
        assert beat is not HeartbeatAction.WAIT or wait > 0


@pytest.mark.parametrize("kind", ["ping", "pong"])
def test_control_frames(kind: str) -> None:
    assert json.loads(control_frame(kind, NOW)) == {"type": kind, "timestamp": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (control_frame("ping", NOW), PING),
        ('{"type": "ping"}', PING),
        (control_frame("pong", NOW), PONG),
        (b'{"type": "pong"}', PONG),
        ('{"type": "output", "output": "ping"}', None),
        ('{"type": "output", "output": "pong"}', None),
        ('["ping"]', None),
        ('"pong"', None),
        ('{"ping"', None),
        (b'{"type": "ping"}', PING),
        (BinaryFrame(b'{"type": "ping"}'), None),
        (b'"ping\xff', None),
        ('{"type": ["ping"]}', None),
        ('{"type": "ping", "padding": "' + "x" * 300 + '"}', None),
        ("", None),
        ('{"type": "ping", "x": [NaN]}', PING),
        ('{"type": "ping", "x": "\ud800"}', PING),
        ('{"type": "ping"}'.ljust(MAX_CONTROL_LENGTH), PING),
        ('{"type": "ping"}'.ljust(MAX_CONTROL_LENGTH + 1), None),
    ],
)
def test_pings_and_pongs_are_recognized(frame: str | bytes, answer: str | None) -> None:
    assert control_type(frame) == answer
    content = frame.encode(errors="replace") if isinstance(frame, str) else frame
    assert answer is None or may_hold_control(b'{"type":"task_started"}' + content)


@pytest.mark.parametrize("content", [b"", b'"ping', b'ping"', b'"pung"', b'"running"', b'g"', b'"pin g"'])
def test_frames_without_the_words_are_not_searched_for_pings_one_by_one(content: bytes) -> None:
    assert not may_hold_control(content)
