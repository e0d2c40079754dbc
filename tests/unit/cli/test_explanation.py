"""The words of ``explain``."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aintandem_notify.cli import explanation
from aintandem_notify.control.explain.schemas import (
    EpisodeOfEventResponse,
    EventExplanation,
    Fate,
    FateResponse,
    RuleVerdictResponse,
    StageStepResponse,
    SummaryResponse,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "local_time", lambda moment: moment)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def event(*fates: FateResponse, key: str | None = "k", **more: Any) -> EventExplanation:
    usual: dict[str, Any] = {
        "key": key,
        "type": "task_failed",
        "family": "task",
        "title": 'Task "train" failed',
        "occurred_at": at(-5),
        "received_at": at(-5),
        "project": "Sales",
        "run": "train",
        "run_id": "task-1",
        "fates": fates,
        "rules": (),
    }
    return EventExplanation.model_validate(usual | more)


def fate(kind: Fate, **more: Any) -> FateResponse:
    return FateResponse(**{"rule": "R", "destination": "slack.t", "fate": kind} | more)


def sentences(*fates: FateResponse, **more: Any) -> list[str]:
    return list(explanation.sentences(event(*fates, **more), NOW))


SUMMARY = SummaryResponse(notification="ntf_1", title="3 tasks failed", fate=Fate.DELIVERED, delivery=7, at=at(-1))


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (fate(Fate.DELIVERED, at=at(-2)), "Told slack.t at 11:58:00 through the rule R."),
        (
            fate(Fate.DELIVERED, at=at(-1500)),
            "Told slack.t on 2026-01-04 at 11:00:00 through the rule R.",
        ),
        (
            fate(Fate.DELIVERED, at=at(-2), instead_of="mail.me"),
            "Told slack.t at 11:58:00 through the rule R, instead of mail.me.",
        ),
        (
            fate(
                Fate.DELIVERED,
                at=at(-2),
                since=at(-4),
                stage="quiet",
                reason="quiet hours night",
                earlier_stages=("settle", "group"),
            ),
            (
                "Told slack.t at 11:58:00 through the rule R, after settle and group held it. It was held at "
                "11:56:00: quiet, quiet hours night."
            ),
        ),
        (
            fate(Fate.QUEUED, until=at(1), reason="connection refused"),
            "Queued for slack.t through the rule R, next try at 12:01:00: connection refused.",
        ),
        (fate(Fate.QUEUED, until=at(-1)), "Queued for slack.t through the rule R."),
        (
            fate(Fate.DEAD, at=at(-1), reason="it waited too long; mail.me took over", taken_over_by="mail.me"),
            (
                "Not told to slack.t through the rule R: given up at 11:59:00, it waited too long; mail.me took "
                "over."
            ),
        ),
        (
            fate(Fate.FOLDED, at=at(-1)),
            "Folded at 11:59:00 into a summary for slack.t, through the rule R: its queue was too long.",
        ),
        (
            fate(Fate.HELD, until=at(1140), stage="quiet", reason="quiet hours night"),
            "Held for slack.t until 2026-01-06 at 07:00:00 through the rule R: quiet, quiet hours night.",
        ),
        (
            fate(Fate.DROPPED, until=at(5), stage="once_per", reason="cooldown"),
            "Never told to slack.t through the rule R: once_per, cooldown; the next may pass at 12:05:00.",
        ),
        (
            fate(Fate.DROPPED, stage="settle", reason="attempt 2 began"),
            "Never told to slack.t through the rule R: settle, attempt 2 began.",
        ),
        (
            fate(Fate.TOGETHER, stage="group", reason="others", summary=SUMMARY),
            (
                'Told slack.t at 11:59:00 in the message "3 tasks failed", together with others through the rule '
                "R: group, others."
            ),
        ),
        (
            fate(
                Fate.TOGETHER,
                stage="group",
                reason="others",
                summary=SUMMARY.model_copy(update={"fate": Fate.DEAD, "reason": "no such channel"}),
            ),
            (
                'In the message "3 tasks failed" for slack.t, which is dead (no such channel), together with '
                "others through the rule R: group, others."
            ),
        ),
        (
            fate(Fate.TOGETHER, at=at(-3), stage="group", reason="others"),
            "Told slack.t at 11:57:00, together with others through the rule R: group, others.",
        ),
        (
            fate(Fate.TOLD, at=at(-3), stage="group"),
            "Released for slack.t at 11:57:00 through the rule R; its delivery is no longer stored.",
        ),
    ],
    ids=lambda value: value.fate if isinstance(value, FateResponse) else "",
)
def test_each_fate_has_a_sentence(told: FateResponse, sentence: str) -> None:
    assert sentences(told) == [sentence]


def test_what_would_happen_has_one_too() -> None:
    hold = StageStepResponse(stage="group", result="hold", reason="it waits", at=NOW, until=at(1))
    quiet = StageStepResponse(stage="quiet", result="hold", reason="quiet hours night", at=at(1), until=at(60))
    held = fate(Fate.HELD, at=at(60), until=at(60), stage="group", reason="it waits", steps=(hold, quiet))
    assert sentences(fate(Fate.NOW), held, key=None) == [
        "slack.t would be told at once through the rule R.",
        (
            "slack.t would be told at 13:00:00 through the rule R, after group until 12:01:00 (it waits), then "
            "quiet until 13:00:00 (quiet hours night)."
        ),
    ]
    dropped = fate(Fate.DROPPED, until=at(5), stage="once_per", reason="cooldown")
    assert sentences(dropped, key=None) == [
        (
            "slack.t would never be told of it through the rule R: once_per, cooldown; the next may pass at "
            "12:05:00."
        )
    ]
    assert explanation.stage_rows(event(held, key=None), NOW) == [
        ("slack.t", "group", "holds it", "12:01:00", "it waits"),
        ("slack.t", "quiet", "holds it", "13:00:00", "quiet hours night"),
    ]


def verdict(name: str, kind: str, reason: str, *destinations: str) -> RuleVerdictResponse:
    return RuleVerdictResponse(rule=name, verdict=kind, reason=reason, destinations=destinations)


def test_nobody_and_near_misses_have_their_reason() -> None:
    nobody = verdict("quiet please", "match", "it matches, and tells nobody")
    assert sentences(rules=(nobody,)) == ["Nobody was told: the rule quiet please tells nobody of it."]
    miss = verdict("slow", "when_false", "its when is false (x)", "slack.t")
    other = verdict("done", "other_type", "it is for other events", "slack.t")
    assert sentences(rules=(miss, other)) == [
        "Nobody was told: no rule matches.",
        "The rule slow did not match: its when is false (x).",
    ]
    assert sentences(rules=(miss,), key=None)[1] == "The rule slow does not match: its when is false (x)."
    newer = verdict("new", "match", "it matches now", "slack.t")
    assert sentences(rules=(newer,)) == ["Nobody was told: no rule took it then."]
    assert sentences() == ["Nobody was told."]
    raised = verdict("odd", "match", "it matches; its when raised X, so it counts as true", "slack.t")
    assert sentences(fate(Fate.NOW), rules=(raised,), key=None)[1:] == [
        "The rule odd matches although it fails: it matches; its when raised X, so it counts as true."
    ]


def test_changed_rules_and_notes_come_last() -> None:
    assert sentences(rules_changed_at=at(-1), notes=("this is one",)) == [
        "Nobody was told.",
        "The rules have changed since, at 11:59:00: the table has those in use now.",
        "This is one.",
    ]


def test_the_tables_have_a_row_for_each_destination_and_each_rule() -> None:
    held = fate(Fate.HELD, until=at(5), stage="quiet", earlier_stages=("settle",))
    together = fate(Fate.TOGETHER, at=at(-1), stage="group", summary=SUMMARY)
    shown = event(
        held, together, fate(Fate.DELIVERED, delivery=3, at=at(-2)), fate(Fate.DROPPED, stage="once_per")
    )
    assert explanation.fate_rows(shown, NOW) == [
        ("R", "slack.t", "held", "until 12:05:00", "settle and quiet", "-"),
        ("R", "slack.t", "together", "11:59:00", "group", "7"),
        ("R", "slack.t", "delivered", "11:58:00", "-", "3"),
        ("R", "slack.t", "dropped", "-", "once_per", "-"),
    ]
    rules = (verdict("a", "match", "it matches", "x", "y"), verdict("b", "nobody", "a tells nobody"))
    assert explanation.rule_rows(event(rules=rules)) == [
        ("a", "x, y", "yes", "it matches"),
        ("b", "nobody", "no", "a tells nobody"),
    ]


def test_the_heading_names_the_event() -> None:
    assert explanation.heading(event(), NOW) == (
        "task_failed, train (task-1), project Sales, 2026-01-05 11:55:00 (5 min ago)"
    )
    bare = event(run=None, run_id=None, project=None)
    assert explanation.heading(bare, NOW) == "task_failed, 2026-01-05 11:55:00 (5 min ago)"


def episode(role: str, **more: Any) -> EpisodeOfEventResponse:
    usual: dict[str, Any] = {
        "id": "ep_3f9a2b1c00000000",
        "rule": "R",
        "type": "task_failed",
        "project_id": "p",
        "project": "Sales",
        "kind": "task",
        "run_id": "task-1",
        "run": "train",
        "begun_at": at(-60),
        "last_at": at(-5),
        "troubles": 1,
        "told": [{"destination": "slack.t", "at": at(-60)}],
        "role": role,
    }
    return EpisodeOfEventResponse.model_validate(usual | more)


BOTH = [{"destination": name, "at": at(-60)} for name in ("slack.lead", "slack.t")]
NAME = "the episode ep_3f9a2b1c00000000 of the rule R"


@pytest.mark.parametrize(
    ("known", "key", "sentence"),
    [
        (episode("trouble"), "k", f"It belongs to {NAME}, open since 11:00:00: slack.t was told."),
        (
            episode("trouble", troubles=3, told=BOTH, acknowledged_at=at(-1), acknowledged_by="ana"),
            "k",
            (
                f"It belongs to {NAME}, open since 11:00:00, acknowledged by ana, 3 times: "
                "slack.lead, slack.t were told."
            ),
        ),
        (
            episode("trouble", ended_at=at(-2), ended_by="hand", told=[]),
            "k",
            f"It belongs to {NAME}, from 11:00:00 to 11:58:00 (by hand): nobody was told.",
        ),
        (
            episode("trouble", confirmed=False, troubles=2),
            "k",
            "The rule R waits for more: there are 2 failures in a row.",
        ),
        (
            episode("trouble", confirmed=False),
            None,
            "The rule R waits for more: there is 1 failure in a row.",
        ),
        (episode("trouble"), None, f"It would belong to {NAME}, open since 11:00:00: slack.t was told."),
        (episode("end"), "k", f"It ended {NAME}, open since 11:00:00: slack.t was told of the trouble."),
        (episode("end"), None, f"It would end {NAME}, open since 11:00:00: slack.t was told of the trouble."),
    ],
    ids=str,
)
def test_the_episodes_of_an_event_have_a_sentence_each(
    known: EpisodeOfEventResponse, key: str | None, sentence: str
) -> None:
    assert sentences(fate(Fate.NOW if key is None else Fate.QUEUED), key=key, episodes=(known,))[1:] == [sentence]


def test_an_end_without_a_rule_is_told_all_the_same() -> None:
    first, *_ = sentences(key=None, episodes=(episode("end"),))
    assert first == "No rule matches; whoever was told of the trouble that it ends is told."
    assert sentences(key=None, episodes=(episode("end", told=[]),))[0].startswith("Nobody would be told")
