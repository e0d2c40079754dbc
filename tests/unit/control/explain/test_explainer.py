"""The effect of rules and stages on an event, from values alone."""

from datetime import timedelta
from typing import Any

from aintandem_notify.config import Config, QuietConfig
from aintandem_notify.control.explain.explainer import Explainer, StageState
from aintandem_notify.control.explain.schemas import Fate, FateResponse
from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.log import register_secret
from aintandem_notify.stages.pipeline import Stage, Window, WindowKey
from aintandem_notify.stages.silences import Silence
from support.happenings import NOW, happening, project_of, run_of
from support.routing import FILE, SLACK, config, destination, rule
from support.staging import with_quiet

ALL_NIGHT = QuietConfig.model_validate({"from": "22:00", "to": "07:00", "tz": "UTC", "except": ["critical"]})
NIGHT_ENDS = NOW.replace(hour=7, minute=0, second=0)


def about(kind: str = "task_failed", **fields: Any) -> EventContext:
    event = happening(kind, **fields)
    return event, run_of(event), project_of(event)


def failures(**stages: Any) -> Config:
    return config(SLACK, FILE, rule("failures", "task_failed task_completed", "slack.team", **stages))


def fate(settings: Config, context: EventContext | None = None, **state: Any) -> FateResponse:
    [only] = Explainer(settings).fates_now(context or about(), NOW, StageState(**state))
    return only


def steps(settings: Config, context: EventContext | None = None, **state: Any) -> list[tuple[Any, ...]]:
    return [
        (step.stage, step.result, step.until and int((step.until - NOW).total_seconds()), step.reason)
        for step in fate(settings, context, **state).steps
    ]


def test_a_rule_without_stages_would_tell_at_once() -> None:
    told = fate(failures())
    assert (told.fate, told.rule, told.destination, told.steps) == (Fate.NOW, "failures", "slack.team", ())


def test_each_stage_is_asked_as_of_the_time_at_which_the_one_before_lets_go() -> None:
    settings = with_quiet(
        failures(
            settle=60,
            once_per="{{ project.name }}",
            group={"by": ["project"], "wait": 30},
            throttle={"limit": 2, "per": 600},
            quiet="night",
        ),
        night=ALL_NIGHT,
    )
    assert steps(settings) == [
        ("settle", "hold", 60, "a new attempt or run may begin"),
        ("once_per", "pass", None, "the first with Sales pipeline"),
        ("group", "hold", 90, "it waits for others of Sales pipeline"),
        ("throttle", "pass", None, "the 1. of 2"),
        ("quiet", "hold", int((NIGHT_ENDS - NOW).total_seconds()), "quiet hours night"),
    ]
    told = fate(settings)
    assert (told.fate, told.stage, told.at, told.until) == (Fate.HELD, "settle", NIGHT_ENDS, NIGHT_ENDS)


def test_only_failures_settle() -> None:
    assert steps(failures(settle=60), about("task_completed")) == [
        ("settle", "pass", None, "only failures settle")
    ]


def test_what_is_an_exception_of_quiet_hours_passes() -> None:
    settings = with_quiet(failures(quiet="night", severity="critical"), night=ALL_NIGHT)
    assert steps(settings) == [("quiet", "pass", None, "quiet hours night do not hold it now")]


def test_quiet_hours_of_the_destination_count_too() -> None:
    quiet = config(destination("slack.team", quiet="night"), rule("failures", "task_failed", "slack.team"))
    assert [step[:2] for step in steps(with_quiet(quiet, night=ALL_NIGHT))] == [("quiet", "hold")]


def test_open_windows_and_what_waits_are_taken_into_account() -> None:
    settings = failures(cooldown=60, group={"by": ["task"], "wait": 30}, throttle={"limit": 1, "per": 60})

    def windows(keys: Any) -> dict[WindowKey, Window]:
        ends = NOW + timedelta(seconds=20)
        return {key: Window(ends, 1) for key in keys if key.stage is not Stage.ONCE_PER}

    held = fate(settings, windows=windows, waiting=lambda stage, _name, _key: 7 if stage is Stage.GROUP else 0)
    assert [(step.stage, step.result, step.waiting) for step in held.steps] == [
        ("once_per", "pass", 0),
        ("group", "hold", 7),
        ("throttle", "pass", 0),  # its window has ended when the group is told
    ]
    full = fate(failures(throttle={"limit": 1, "per": 60}), windows=windows)
    assert (full.fate, full.stage, full.reason) == (Fate.HELD, "throttle", "the rule has told enough for now")


def test_what_would_be_dropped_says_until_when() -> None:
    def windows(keys: Any) -> dict[WindowKey, Window]:
        return {key: Window(NOW + timedelta(seconds=20), 1) for key in keys}

    dropped = fate(failures(settle=10, once_per="x", cooldown=60), windows=windows)
    assert (dropped.fate, dropped.stage, dropped.until, dropped.at) == (
        Fate.DROPPED,
        "once_per",
        NOW + timedelta(seconds=20),
        None,
    )


def test_a_silence_is_named_and_another_does_not_match() -> None:
    silence = Silence("3f9a", {"task": "data-*"}, NOW, NOW + timedelta(hours=1), "ana", "a migration")
    other = Silence("0000", {"task": "other"}, NOW, NOW + timedelta(hours=9))
    assert steps(failures(), silences=[other, silence]) == [
        ("silence", "hold", 3600, "silence 3f9a of ana (a migration)")
    ]
    assert steps(failures(), silences=[other]) == [("silence", "pass", None, "no silence matches")]


def test_a_template_that_raises_lets_pass_and_shows_its_error() -> None:
    raised = "raised ZeroDivisionError: division by zero, so it is not asked"
    assert steps(failures(once_per="{{ 1 / 0 }}")) == [("once_per", "pass", None, f"its once_per {raised}")]
    grouped = failures(group={"by": ["project", "{{ 1 / 0 }}"], "wait": 30})
    assert steps(grouped) == [("group", "pass", None, f"its group {raised}")]


def reasons(settings: Config, context: EventContext | None = None) -> dict[str, str]:
    return {verdict.rule: verdict.reason for verdict in Explainer(settings).rules(context or about())}


def test_each_rule_says_in_words_how_it_stands() -> None:
    settings = config(
        SLACK,
        FILE,
        rule("other type", "task/* sandbox/*", "slack.team", when="false"),
        rule("completed", "task_completed", "slack.team"),
        rule("other project", "task_failed", "slack.team", projects=("hr", "it-*")),
        rule("false", "task_failed", "slack.team", when="run.attempt > 9 and event.error"),
        rule("raises", "task_failed", "slack.team", when="1 / 0"),
        rule("late", "task_failed", "slack.team"),
        rule("nobody", "task_failed", "nobody"),
        rule("behind", "task_failed", "file_log.audit"),
    )
    assert reasons(settings) == {
        "other type": "its when is false (false)",
        "completed": "it is for other events: task_completed",
        "other project": "it is for the projects hr, it-* only",
        "false": "its when is false (run.attempt > 9 and event.error): run.attempt is 2, "
        "event.error is \"KeyError: 'region'\"",
        "raises": "it matches; its when raised ZeroDivisionError: division by zero, so it counts as true",
        "late": "the rule raises before it has its destinations",
        "nobody": "it matches, and tells nobody",
        "behind": "the rule nobody tells nobody",
        "agent": "it is for other events: agent_degraded, destination_parked, feed_gap, login_failed and 2 more",
    }


def test_a_rule_about_its_own_destination_says_so() -> None:
    settings = config(SLACK, rule("parked", "destination_parked", "slack.team"))
    context = about("destination_parked", instance="slack.team")
    assert reasons(settings, context)["parked"] == "the event is about its destination, or is for others only"


def test_values_of_a_condition_hold_no_secret_and_no_control_character() -> None:
    register_secret("hunter2-is-no-password")
    settings = config(SLACK, rule("never", "task_failed", "slack.team", when="event.error == 'x' and event.wire"))
    [verdict, _] = Explainer(settings).rules(about(error="\x1b[31m\u202ehunter2-is-no-password\x00\n" + "x" * 500))
    assert set(verdict.values) == {"event.error", "event.wire"}
    text = verdict.to_json()
    assert "hunter2" not in text
    assert len(verdict.values["event.error"]) <= 80
    assert verdict.values["event.error"].isprintable()
