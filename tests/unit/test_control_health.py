"""The agent's health."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aintandem_notify.control.health import reason_not_to_ping, store_trouble, trouble
from aintandem_notify.domain.notification import Project
from aintandem_notify.orchestrator import ConnectionState, ConnectionTrouble, ProjectStatus, UnwatchedProjects
from aintandem_notify.store import LivenessReport
from support.outbox import NOW

WELL = LivenessReport(0.1)
S = ConnectionState


def status(name: str, state: ConnectionState, seconds: float = 0.0, *, gone: bool = False) -> ProjectStatus:
    """Returns a project that has been in this state for so many seconds."""
    since: datetime = NOW - timedelta(seconds=seconds)
    trouble = ConnectionTrouble.GONE if gone else None
    return ProjectStatus(Project(id=name, name=name), state, since, trouble=trouble)


@pytest.mark.parametrize(
    ("state", "seconds", "gone", "well"),
    [
        (S.CONNECTED, 0, False, True),
        (S.CONNECTED, 86_400, False, True),
        (S.CONNECTING, 0, False, True),
        (S.RECONNECTING, 299, False, True),
        (S.RECONNECTING, 300, False, False),
        (S.DISCONNECTED, 299, False, True),
        (S.DISCONNECTED, 301, False, False),
        (S.RECONNECTING, 86_400, True, True),
        (S.DISCONNECTED, 86_400, True, True),
    ],
)
def test_a_project_may_be_lost_for_a_while(state: ConnectionState, seconds: float, gone: bool, well: bool) -> None:
    reason = trouble([status("p", state, seconds, gone=gone)], WELL, NOW)
    assert (reason is None) is well
    assert reason in (None, "not connected for more than 5 min: p")


def test_the_first_lost_projects_are_named_and_the_rest_counted() -> None:
    lost = [status(f"p{number}", S.RECONNECTING, 900) for number in range(5)]
    assert trouble([status("fine", S.CONNECTED), *lost], WELL, NOW) == (
        "not connected for more than 5 min: p0, p1, p2 and 2 more"
    )


def test_heartbeats_wait_for_the_first_connection_of_any_project() -> None:
    new, other = status("p", S.CONNECTING), status("q", S.RECONNECTING)
    assert reason_not_to_ping([new, other], WELL, NOW) == "no project has been connected yet"
    assert reason_not_to_ping([new, replace(other, was_connected=True)], WELL, NOW) is None
    assert reason_not_to_ping([status("p", S.RECONNECTING, gone=True)], WELL, NOW) is None
    assert reason_not_to_ping([], WELL, NOW) is None
    lost = replace(status("p", S.RECONNECTING, 900), was_connected=True)
    assert reason_not_to_ping([lost], WELL, NOW) == "not connected for more than 5 min: p"
    assert reason_not_to_ping([lost], LivenessReport(1, "the disk is full"), NOW) == "the disk is full"


@pytest.mark.parametrize(("seconds", "well"), [(0, True), (299, True), (300, False)])
def test_a_project_may_be_nobodys_for_a_while(seconds: float, well: bool) -> None:
    nobodys = UnwatchedProjects(3, NOW - timedelta(seconds=seconds))
    reason = trouble([status("p", S.CONNECTED)], WELL, NOW, nobodys)
    assert reason == (None if well else "projects that no agent on the store has a place for: 3")
    assert (
        reason_not_to_ping([replace(status("p", S.CONNECTED), was_connected=True)], WELL, NOW, nobodys) == reason
    )


def test_no_project_is_no_trouble() -> None:
    assert trouble([], WELL, NOW) is None


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        (WELL, None),
        (LivenessReport(30), None),
        (LivenessReport(31), "the store has not answered for 31 s"),
        (LivenessReport(31, "the disk is full"), "the store has not answered for 31 s"),
        (LivenessReport(1, "the disk is full"), "the disk is full"),
    ],
)
def test_the_store_must_answer_and_have_no_complaint(store: LivenessReport, problem: str | None) -> None:
    assert store_trouble(store) == problem
    assert trouble([status("p", S.RECONNECTING, 900)], store, NOW) == (
        problem or "not connected for more than 5 min: p"
    )
