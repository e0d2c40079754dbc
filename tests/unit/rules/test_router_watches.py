"""The way of the events of watches: the watch's own destinations, rules that name them, and those of failures."""

from dataclasses import replace
from typing import Any

import pytest

from aintandem_notify.config import Config
from aintandem_notify.domain.notification import Severity
from aintandem_notify.rules import Router
from aintandem_notify.rules.effective_rules import Verdict
from support.happenings import NOW, SALES, happening, run_of
from support.routing import FILE, SLACK, config, rule
from support.watches import watch

FAILURES = rule(
    "failures", "task_failed", "slack.team", severity="critical", title="{{ run.name }} broke", body="!"
)


def recipients(settings: Config, event_type: str = "run_stalled", **fields: Any) -> dict[str, tuple[str, ...]]:
    event = happening(event_type, **fields)
    routed = Router(settings).route(event, run_of(event), SALES, NOW)
    return {item.notification.rule: item.destinations for item in routed}


def test_by_default_whoever_would_hear_of_a_failure_hears_of_it_with_texts_of_its_own() -> None:
    event = happening("run_stalled")
    [routed] = Router(config(SLACK, FILE, FAILURES)).route(event, run_of(event), SALES, NOW)
    notification = routed.notification
    assert (notification.rule, routed.destinations) == ("failures", ("slack.team",))
    assert notification.title == 'Task "data-analysis" has been silent for 15 min'
    assert (notification.severity, notification.body) == (Severity.WARNING, "Usually it takes 2 min 10 s.")
    assert notification.thread == "p1/task/t-1/2"


def test_a_condition_on_failures_is_asked_about_the_failure_of_that_run() -> None:
    settings = config(SLACK, FILE, rule("mine", "task_failed", "slack.team", when="run.name == 'data-analysis'"))
    assert recipients(settings) == {"mine": ("slack.team",)}
    assert recipients(settings, kind="workflow", about="x-1") == {}
    other = config(SLACK, FILE, rule("mine", "task_failed", "slack.team", when="run.name == 'other'"))
    assert recipients(other) == {}


def test_a_missing_run_is_asked_about_by_the_name_that_is_expected() -> None:
    settings = config(
        SLACK, FILE, rule("nightly", "*_failed", "slack.team", when="run.name.startswith('nightly')")
    )
    assert recipients(settings, "run_missing") == {"nightly": ("slack.team",)}
    assert recipients(settings, "run_missing", kind="workflow") == {"nightly": ("slack.team",)}
    assert recipients(settings, "run_missing", pattern="train-*") == {}


@pytest.mark.parametrize("kind", ["workflow", "sandbox"])
def test_each_kind_of_run_has_its_own_failure(kind: str) -> None:
    settings = config(
        SLACK,
        FILE,
        rule("workflow", "workflow_execution_failed", "slack.team"),
        rule("sandbox", "sandbox_error", "file_log.audit"),
    )
    assert list(recipients(settings, kind=kind, about="x-1")) == [kind]


def test_a_rule_that_names_the_type_takes_it_from_those_for_failures() -> None:
    settings = config(SLACK, FILE, FAILURES, rule("hung", "watch/*", "file_log.audit", title="{{ event.watch }}"))
    assert recipients(settings) == {"hung": ("file_log.audit",)}
    settings = config(SLACK, FILE, FAILURES, rule("hung", "run_stalled", "nobody"))
    assert recipients(settings) == {}
    assert recipients(settings, "run_overdue") == {"failures": ("slack.team",)}


def test_the_watchs_own_destinations_come_first() -> None:
    hung = watch("stalled", "hung", silent_for=900.0, notify=("file_log.audit",))
    settings = replace(config(SLACK, FILE, FAILURES), watches=(hung,))
    assert recipients(settings) == {"hung": ("file_log.audit",)}
    assert recipients(settings, watch="another") == {"failures": ("slack.team",)}
    also = replace(config(SLACK, FILE, FAILURES, rule("all", "watch/*", "slack.team")), watches=(hung,))
    assert recipients(also) == {"hung": ("file_log.audit",), "all": ("slack.team",)}


@pytest.mark.parametrize("event_type", ["run_moving", "run_arrived"])
def test_ends_go_to_nobody_by_default(event_type: str) -> None:
    hung = watch("stalled", "hung", silent_for=900.0, notify=("file_log.audit",))
    assert recipients(replace(config(SLACK, FILE, FAILURES), watches=(hung,)), event_type) == {}
    assert recipients(config(SLACK, FILE, rule("all", "watch/*", "slack.team")), event_type) != {}


def test_a_glob_of_all_events_is_not_about_watches() -> None:
    assert recipients(config(SLACK, FILE, rule("starts", "*_started", "file_log.audit"))) == {}
    assert list(recipients(config(SLACK, FILE, rule("all", "*", "slack.team")))) == ["all"]


def test_behind_a_rule_for_failures_stand_those_behind_it() -> None:
    second = rule("second", "task_failed", "slack.team file_log.audit")
    event = happening("run_stalled")
    about = (event, run_of(event), SALES, NOW)
    router = Router(config(SLACK, FILE, FAILURES, second))
    assert [routed.notification.rule for routed in router.route(*about)] == ["failures", "second"]
    [behind] = router.route_behind("failures", "slack.team", *about)
    assert (behind.notification.rule, behind.destinations) == ("second", ("slack.team",))
    assert router.route_behind("second", "slack.team", *about) == []


def test_a_trace_shows_the_watch_and_the_rules_for_failures() -> None:
    hung = watch("stalled", "hung", silent_for=900.0, notify=("file_log.audit",))
    event = happening("run_stalled")
    traces = Router(config(SLACK, FILE, FAILURES)).trace(event, run_of(event), SALES)
    assert (traces[0].rule.name, traces[0].verdict) == ("failures", Verdict.MATCH)
    router = Router(replace(config(SLACK, FILE, FAILURES), watches=(hung,)))
    traces = router.trace(event, run_of(event), SALES)
    assert [(trace.rule.name, trace.verdict) for trace in traces][:2] == [
        ("hung", Verdict.MATCH),
        ("failures", Verdict.OTHER_TYPE),
    ]


def test_without_texts_no_condition_is_asked() -> None:
    settings = config(SLACK, FILE, rule("mine", "task_failed", "slack.team", when="1 / 0"))
    event = happening("run_missing")
    [routed] = Router(settings).route_without_texts(event, None, SALES, NOW)
    assert routed.notification.title == "Run missing"
    assert routed.notification.thread == "watch/p1/hung"
