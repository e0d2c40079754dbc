"""An episode in words."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from aintandem_notify.cli.control_commands.episode_texts import lines, shortest_ids
from aintandem_notify.cli.times import local
from aintandem_notify.control.episodes.schemas import (
    EpisodeActionResponse,
    EpisodeResponse,
    ToldResponse,
)
from aintandem_notify.control.schemas import HeldResponse
from support.happenings import NOW


def ago(**delta: float) -> datetime:
    return NOW - timedelta(**delta)


def episode(**fields: Any) -> EpisodeResponse:
    return EpisodeResponse(
        **{
            "id": "ep_3f9a2b1c00000000",
            "rule": "failures",
            "type": "task_failed",
            "project_id": "p",
            "project": "Sales",
            "kind": "task",
            "run_id": "t1",
            "run": "import",
            "begun_at": ago(hours=2),
            "last_at": ago(minutes=5),
            "troubles": 1,
        }
        | fields
    )


def test_new_trouble_is_two_lines() -> None:
    assert list(lines(episode(), NOW)) == [
        f"task_failed, import, project Sales: since {local(ago(hours=2), NOW)}",
        "rule failures, nobody was told yet, not acknowledged",
    ]


def test_all_that_is_known_has_its_line() -> None:
    known = episode(
        troubles=3,
        told=[ToldResponse(destination=name, at=NOW) for name in ("slack.lead", "slack.team")],
        acknowledged_at=ago(minutes=1),
        acknowledged_by="ana",
        waits=[
            EpisodeActionResponse(action="escalate", at=ago(minutes=-20), destinations=("slack.boss",)),
            EpisodeActionResponse(action="remind", at=ago(hours=-1), destinations=("slack.team", "mail.me")),
            EpisodeActionResponse(action="expire", at=ago(hours=-22)),
            EpisodeActionResponse(action="sing", at=ago(hours=-23)),
        ],
        held=[HeldResponse(destination="slack.team", stage="quiet", count=2, until=ago(hours=-6))],
        holds_back=4,
    )
    assert list(lines(known, NOW)) == [
        f"task_failed, import, project Sales: 3 times since {local(ago(hours=2), NOW)}, last 5 min ago",
        "rule failures, told slack.lead, slack.team, acknowledged by ana 1 min ago",
        (
            "next: slack.boss told in 20 min unless acknowledged; slack.team, mail.me reminded in 1 h; "
            "expires in 22 h; sing in 23 h"
        ),
        f"quiet holds 2 for slack.team, until {local(ago(hours=-6), NOW)}",
        "4 notifications of other rules wait for its end",
    ]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("success", "it works again"),
        ("hand", "by hand"),
        ("expiry", "expired"),
        ("other trouble", "it became other trouble"),
        ("magic", "magic"),
    ],
)
def test_an_end_has_its_cause(by: str, words: str) -> None:
    _, rule, last = lines(episode(ended_at=ago(minutes=3), ended_by=by), NOW)
    assert rule == "rule failures, nobody was told yet"
    assert last == f"ended 3 min ago: {words}"


def test_nobody_in_particular_may_acknowledge_and_a_watch_may_have_no_run() -> None:
    first, second = lines(episode(type="run_missing", run="", acknowledged_at=ago(hours=1)), NOW)
    assert first.startswith("run_missing, project Sales: since ")
    assert second.endswith(", acknowledged 1 h ago")


def test_ids_are_shortened_as_far_as_they_differ() -> None:
    ids = ("ep_3f9a2b1c00000000", "ep_3f9a2b1d00000000", "ep_0123456789abcdef")
    assert shortest_ids(ids) == {
        "ep_3f9a2b1c00000000": "ep_3f9a2b1c",
        "ep_3f9a2b1d00000000": "ep_3f9a2b1d",
        "ep_0123456789abcdef": "ep_012345",
    }
