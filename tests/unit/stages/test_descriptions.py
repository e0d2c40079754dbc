"""When a rule tells, in words, and the warnings about stages without effect."""

from typing import Any

import pytest

from aintandem_notify.config import GroupConfig, QuietConfig, ThrottleConfig
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
        (Stages(settle=120), "failures after 2m, unless a new attempt has begun by then"),
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
