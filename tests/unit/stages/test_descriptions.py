"""When a rule tells, in words, and the warnings about stages without effect."""

from typing import Any

import pytest

from aintandem_notify.config import GroupConfig, QuietConfig, ThrottleConfig
from aintandem_notify.config.rule_config import EscalationConfig
from aintandem_notify.rules.effective_rules import NO_STAGES, Stages
from aintandem_notify.stages.descriptions import describe_quiet, stage_warnings, when_told
from support.routing import config, destination, rule
from support.staging import with_quiet


def hours(**keys: Any) -> QuietConfig:
    return QuietConfig.model_validate({"from": "22:00", "to": "07:00", "tz": "Europe/Berlin"} | keys)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (NO_STAGES, None),
        (Stages(settle=120), "failures after 2m, unless a new attempt or run has begun by then"),
        (Stages(cooldown=3600), "at most one in 1h"),
        (Stages(once_per="{{ event.error }}"), "at most one for each {{ event.error }}"),
        (Stages(once_per="{{ run.name }}", cooldown=60), "at most one in 1m for each {{ run.name }}"),
        (
            Stages(group=GroupConfig(by=("project", "task")), quiet="night"),
            (
                "one message for each project and task after 30s, then at most one in 5m; "
                "held from 22:00 to 07:00 Europe/Berlin, unless critical, then a digest"
            ),
        ),
        (
            Stages(throttle=ThrottleConfig(limit=10, per=600)),
            "at most 10 in 10m to each destination, and the others as one",
        ),
        (Stages(on=("recovered", "first_failure")), "only the first failure after a success, the recovery"),
        (
            Stages(on=("first_failure", "still_failing"), confirm=3, remind_every=43200),
            (
                "only the first failure after a success (3 in a row), a reminder each 12h until it is over or "
                "acknowledged"
            ),
        ),
        (Stages(subject="{{ run.name\n }}"), "the same subject is the same {{ run.name }}"),
        (
            Stages(held_back_by=("hosts", "network"), hold_at_most=1800),
            "held while trouble of hosts or network is open nearby, for 30m at most, then as one",
        ),
        (
            Stages(
                escalate=(
                    EscalationConfig(after=1800, notify=("slack.lead",)),
                    EscalationConfig(after=7200, notify=("slack.boss", "mail.all")),
                )
            ),
            (
                "also to slack.lead if nobody has acknowledged it for 30m; "
                "also to slack.boss and mail.all if nobody has acknowledged it for 2h"
            ),
        ),
        (Stages(tell_end=False), "all but the ends of trouble"),
    ],
    ids=str,
)
def test_the_stages_of_a_rule_are_one_sentence(stages: Stages, words: str | None) -> None:
    assert when_told(stages, {"night": hours()}) == words


@pytest.mark.parametrize(
    ("quiet", "words"),
    [
        (hours(then="each"), "held from 22:00 to 07:00 Europe/Berlin, unless critical, then one by one"),
        (
            hours(days=["mon-fri"], then="drop", **{"except": []}),
            "dropped from 22:00 to 07:00 Europe/Berlin (mon-fri)",
        ),
        (
            hours(days=["sat", "mon"], **{"except": ["error", "critical"]}),
            "held from 22:00 to 07:00 Europe/Berlin (mon, sat), unless error, critical, then a digest",
        ),
    ],
    ids=["each", "drop", "days"],
)
def test_quiet_hours_are_described(quiet: QuietConfig, words: str) -> None:
    assert describe_quiet(quiet) == words


def test_stages_without_effect_are_warned_of() -> None:
    slack = destination("slack.team", quiet="evening")
    settings = config(
        slack,
        rule("ends", "task_completed", "slack.team", settle=60),
        rule("failures", "task_*", "slack.team", settle=60, quiet="night"),
    )
    assert stage_warnings(with_quiet(settings, night=hours(), evening=hours(), unused=hours())) == [
        "quiet hours unused are not used; no rule and no destination names them",
        "rule ends has settle, and none of its events is a failure",
    ]


def test_keys_for_trouble_without_any_are_warned_of() -> None:
    settings = config(
        destination("slack.team"),
        rule("ends", "task_completed", "slack.team", on=("recovered",)),
        rule("starts", "task_started", "slack.team", escalate=({"after": 60, "notify": ["slack.team"]},)),
        rule("pauses", "workflow_execution_paused", "slack.team", on=("first_failure",)),
        rule("failures", "task_failed", "slack.team", escalate=({"after": 60, "notify": ["slack.team"]},)),
    )
    assert stage_warnings(settings) == [
        "rule ends has on, and none of its events is trouble that can end",
        "rule starts has escalate, and none of its events is trouble that can end",
    ]


def test_an_end_that_is_switched_off_and_asked_for_is_warned_of() -> None:
    settings = config(
        destination("slack.team"),
        rule("both", "task_failed", "slack.team", on=("first_failure", "recovered"), tell_end=False),
        rule("one", "task_failed", "slack.team", on=("first_failure",), tell_end=False),
    )
    assert stage_warnings(settings) == [
        (
            "rule both has tell_end = false, and recovered in on: only its notify is told of recoveries, "
            "and nobody else who was told of the trouble"
        )
    ]


def test_a_rule_that_tells_only_recoveries_never_escalates() -> None:
    settings = config(
        destination("slack.team"),
        rule(
            "ends",
            "task_failed",
            "slack.team",
            on=("recovered",),
            escalate=({"after": 60, "notify": ["slack.team"]},),
        ),
    )
    [warning] = stage_warnings(settings)
    assert warning.startswith("rule ends has escalate, and tells only recoveries: ")


def test_a_cause_that_is_never_open_is_warned_of() -> None:
    settings = config(
        destination("slack.team"),
        rule("starts", "task_started", "slack.team"),
        rule("muted", "sandbox_error", "nobody"),
        rule("hosts", "sandbox_error", "slack.team"),
        rule("effects", "task_failed", "slack.team", held_back_by=("starts", "muted", "hosts")),
    )
    assert stage_warnings(settings) == [
        "rule effects never waits for starts: none of its events is trouble that can end",
        "rule effects never waits for muted, which tells nobody",
    ]
