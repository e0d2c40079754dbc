"""The addresses, texts and answers of pings, and which one is due; no socket, and times are arguments."""

from datetime import UTC, datetime, timedelta

import pytest

from aintandem_notify import log
from aintandem_notify.domain.health import WELL, Health, HealthState, Reason, ReasonId
from aintandem_notify.health.ping_schedule import LOG_PAUSE_S, PingSchedule
from aintandem_notify.health.pings import (
    MAX_TEXT_BYTES,
    Signal,
    address_for,
    failure_in,
    speaks_conventions,
    text_of,
)
from aintandem_notify.http_client import HttpAnswer

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
INTERVAL_S = 60.0

LINK = Reason(ReasonId.LINK, "project p1: the link is down", NOW, "p1")
LOGIN = Reason(ReasonId.LOGIN, "the orchestrator refuses the login", NOW)
STARTING = Reason(ReasonId.STARTING, "no project has been connected yet", NOW)
DEGRADED = Health(HealthState.DEGRADED, (LINK,))
FAILING = Health(HealthState.FAILING, (LOGIN,))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"https://hc-ping.com/{UUID}", True),
        (f"https://hc-ping.com/{UUID}?rid={UUID}", True),
        ("https://hc-ping.com/fqOOd6-F4MMNuCEnzTU01w/agent", True),
        ("https://HC-PING.com/fqOOd6-F4MMNuCEnzTU01w/agent?create=1", True),
        (f"https://checks.example/ping/{UUID}", True),
        (f"https://checks.example/ping/{UUID.upper()}/", True),
        ("http://healthchecks.internal:8000/ping/key/agent", True),
        ("https://status.example/api/push/qKzmZm01Yt?status=up&msg=OK&ping=", False),
        ("https://uptime.betterstack.com/api/v1/heartbeat/9aBcD", False),
        ("https://cronitor.link/p/0123456789abcdef/agent?state=complete", False),
        ("https://nosnch.in/c2354d53d2", False),
        ("https://not-hc-ping.com/agent", False),
        (f"https://monitor.example/{UUID}/beats", False),
    ],
)
def test_addresses_of_healthchecks_are_recognised_wherever_it_is_hosted(address: str, expected: bool) -> None:
    assert speaks_conventions(address) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"https://hc-ping.com/{UUID}", f"https://hc-ping.com/{UUID}/fail"),
        (f"https://hc-ping.com/{UUID}/", f"https://hc-ping.com/{UUID}/fail"),
        (f"https://hc-ping.com/{UUID}?rid={UUID}", f"https://hc-ping.com/{UUID}/fail?rid={UUID}"),
        ("https://hc-ping.com/key/agent/?create=1&a=%2F", "https://hc-ping.com/key/agent/fail?create=1&a=%2F"),
        ("http://user:word@[::1]:8000/ping/a%20b#top", "http://user:word@[::1]:8000/ping/a%20b/fail"),
        ("https://monitor.example", "https://monitor.example/fail"),
    ],
)
def test_a_signal_stands_behind_the_path_and_before_the_query(address: str, expected: str) -> None:
    assert address_for(address, Signal.FAIL) == expected
    assert address_for(address, Signal.SUCCESS) == address


def test_a_text_has_the_state_and_each_reason_with_since_when() -> None:
    lines = text_of(Health(HealthState.FAILING, (LOGIN, LINK))).decode().splitlines()
    assert lines == [
        "failing",
        "the orchestrator refuses the login (login, since 2026-03-01T12:00:00Z)",
        "project p1: the link is down (link, since 2026-03-01T12:00:00Z)",
    ]
    assert text_of(WELL) == b"well"


def test_a_text_has_no_secret_no_line_break_of_a_reason_and_an_end() -> None:
    log.register_secret("canary-of-the-ping")
    reason = Reason(ReasonId.STORE, "canary-of-the-ping\nfailed\udcff", NOW)
    assert (
        text_of(Health(HealthState.FAILING, (reason,)))
        .decode()
        .splitlines()[1]
        .endswith(" failed? (store, since 2026-03-01T12:00:00Z)")
    )
    assert b"canary" not in text_of(Health(HealthState.FAILING, (reason,)))
    many = tuple(Reason(ReasonId.LINK, f"project ü{number}: down", NOW, str(number)) for number in range(1000))
    text = text_of(Health(HealthState.DEGRADED, many))
    assert len(text) <= MAX_TEXT_BYTES
    assert text.decode().endswith("\n…")


ANSWERS = [
    (HttpAnswer(200, {}, b"OK"), None, False),
    (HttpAnswer(201, {}, b"Created"), None, False),
    (HttpAnswer(204, {}), None, False),
    (HttpAnswer(200, {}, b'{"ok":true}'), None, False),
    (HttpAnswer(200, {}, b"Got it, thanks!"), None, False),
    (HttpAnswer(200, {}, b"OK (not found)"), "no such check; it answers: OK (not found)", True),
    (HttpAnswer(200, {}, b" ok (Not Found)\n"), "no such check", True),
    (HttpAnswer(200, {}, b"OK (rate limited)"), "did not count it; it answers: OK (rate limited)", False),
    (HttpAnswer(200, {}, b'{"ok":false,"msg":"Monitor not found or not active."}'), "Monitor not found", False),
    (HttpAnswer(200, {}, b'{"ok": false}'), 'it answers: {"ok": false}', False),
    (HttpAnswer(200, {"content-type": "text/html; charset=utf-8"}, b"Log in first"), "a web page", False),
    (HttpAnswer(200, {}, b"\n<!DOCTYPE html><html>"), "a web page", False),
    (HttpAnswer(404, {}, b"not found"), "no such check (HTTP 404)", True),
    (HttpAnswer(409, {}, b"ambiguous slug"), "several checks", True),
    (HttpAnswer(302, {}), "HTTP 302", False),
    (HttpAnswer(500, {}), "HTTP 500", False),
]


@pytest.mark.parametrize(("answer", "words", "needs_person"), ANSWERS)
def test_an_answer_says_whether_the_ping_counts(answer: HttpAnswer, words: str | None, needs_person: bool) -> None:
    failure = failure_in(answer, conventions=True)
    if words is None:
        assert failure is None
    else:
        assert failure is not None
        assert words in failure.reason
        assert failure.needs_person is needs_person


def test_a_service_without_conventions_may_answer_with_a_page() -> None:
    assert failure_in(HttpAnswer(200, {"content-type": "text/html"}, b"<p>thanks"), conventions=False) is None


def run(steps: list[tuple[float, Health]], *, conventions: bool = True) -> list[tuple[float, Signal]]:
    """The pings of a schedule that looks at these times and finds this health."""
    schedule, sent = PingSchedule(), list[tuple[float, Signal]]()
    for now, health in steps:
        signal = schedule.due(health, conventions=conventions, interval_s=INTERVAL_S, now=now)
        if signal is not None:
            schedule.record(signal, health, now=now)
            sent.append((now, signal))
    return sent


def each_second(*spans: tuple[int, int, Health]) -> list[tuple[float, Health]]:
    return [(float(now), health) for start, end, health in spans for now in range(start, end)]


def test_successes_come_once_an_interval() -> None:
    assert run(each_second((0, 181, WELL))) == [(float(now), Signal.SUCCESS) for now in (0, 60, 120, 180)]


def test_a_failure_and_its_end_are_told_at_once_and_a_failure_again_each_interval() -> None:
    assert run(each_second((0, 10, WELL), (10, 100, FAILING), (100, 170, WELL))) == [
        (0.0, Signal.SUCCESS),
        (10.0, Signal.FAIL),
        (70.0, Signal.FAIL),
        (100.0, Signal.SUCCESS),
        (160.0, Signal.SUCCESS),
    ]


def test_reasons_that_begin_and_end_between_two_successes_are_logged() -> None:
    assert run(each_second((0, 10, WELL), (10, 40, DEGRADED), (40, 50, WELL))) == [
        (0.0, Signal.SUCCESS),
        (10.0, Signal.LOG),
        (40.0, Signal.LOG),
    ]


def test_a_reason_that_joins_a_failure_is_logged() -> None:
    both = Health(HealthState.FAILING, (LOGIN, LINK))
    assert run(each_second((0, 10, FAILING), (10, 20, both))) == [(0.0, Signal.FAIL), (10.0, Signal.LOG)]


def test_reasons_that_flap_are_logged_with_pauses() -> None:
    flapping = [(float(now), DEGRADED if now % 2 else WELL) for now in range(60)]
    assert [signal for _now, signal in run(flapping)].count(Signal.LOG) <= 60 / LOG_PAUSE_S


def test_a_text_that_changes_is_no_new_reason() -> None:
    def slow(seconds: int) -> Health:
        return Health(HealthState.DEGRADED, (Reason(ReasonId.LINK, f"down for {seconds} s", NOW, "p1"),))

    assert run([(float(now), slow(now)) for now in range(50)]) == [(0.0, Signal.SUCCESS)]


@pytest.mark.parametrize("conventions", [True, False])
def test_nothing_is_due_while_the_agent_starts(conventions: bool) -> None:
    starting = Health(HealthState.DEGRADED, (STARTING,))
    steps = each_second((0, 300, starting), (300, 302, WELL))
    assert run(steps, conventions=conventions) == [(300.0, Signal.SUCCESS)]


def test_an_agent_that_fails_at_its_start_tells_so() -> None:
    failing = Health(HealthState.FAILING, (LOGIN, STARTING))
    assert run([(0.0, failing)]) == [(0.0, Signal.FAIL)]


def test_without_conventions_there_are_only_successes_and_none_while_failing() -> None:
    steps = each_second((0, 10, WELL), (10, 70, FAILING), (70, 90, DEGRADED), (90, 100, WELL))
    assert run(steps, conventions=False) == [(0.0, Signal.SUCCESS), (70.0, Signal.SUCCESS)]


def test_a_shorter_interval_counts_at_once() -> None:
    schedule = PingSchedule()
    schedule.record(Signal.SUCCESS, WELL, now=0.0)
    assert schedule.due(WELL, conventions=True, interval_s=3600.0, now=100.0) is None
    assert schedule.due(WELL, conventions=True, interval_s=60.0, now=100.0) is Signal.SUCCESS
    assert schedule.next_due(60.0) == timedelta(minutes=1).total_seconds()
