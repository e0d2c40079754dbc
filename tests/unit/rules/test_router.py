"""Which destinations get an event, by rules, shorthands and defaults."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from aintandem_notify.config import Config
from aintandem_notify.domain.events import (
    EVENT_TYPES,
    WATCH_TROUBLE_TYPES,
    AgentStartedEvent,
    UnknownEvent,
    field_names,
)
from aintandem_notify.domain.notification import Severity
from aintandem_notify.log import register_secret
from aintandem_notify.rules import Router
from aintandem_notify.rules.effective_rules import AGENT_WARNING_TYPES, DEFAULT_TYPES
from support.happenings import NOW, SALES, happening, run_of
from support.routing import FILE, HOOK, SLACK, config, destination, only, routed, rule, watcher


def recipients(settings: Config, event_type: str, **fields: Any) -> dict[str, tuple[str, ...]]:
    """Maps the rules that match an event of this type to their destinations."""
    return {
        sent.notification.rule: sent.destinations for sent in routed(settings, happening(event_type, **fields))
    }


def test_the_first_rule_in_file_order_that_names_a_destination_wins_it() -> None:
    settings = config(
        SLACK,
        FILE,
        HOOK,
        rule("first", "task_failed", "slack.team"),
        rule("second", "*_failed", "file_log.audit slack.team"),
        rule("third", "task/*", "slack.team file_log.audit"),
        rule("fourth", "*", "webhook.ops slack.team"),
    )
    assert recipients(settings, "task_failed") == {
        "first": ("slack.team",),
        "second": ("file_log.audit",),
        "fourth": ("webhook.ops",),
    }
    assert recipients(settings, "task_started") == {
        "third": ("slack.team", "file_log.audit"),
        "fourth": ("webhook.ops",),
    }
    assert recipients(settings, "sandbox_created") == {"fourth": ("webhook.ops", "slack.team")}
    assert recipients(settings, "connection_error") == {}


def test_the_rule_of_a_shorthand_is_named_after_the_instance_and_comes_last() -> None:
    settings = config(
        destination("slack.team", events=("task_failed", "output"), severity=Severity.CRITICAL, mention=("here",)),
        FILE,
        rule("failures", "task_failed", "slack.team file_log.audit"),
    )
    assert recipients(settings, "task_failed") == {"failures": ("slack.team", "file_log.audit")}
    assert recipients(settings, "output") == {"slack.team": ("slack.team",)}
    notification = only(routed(settings, happening("output")))
    assert (notification.severity, notification.mentions) == (Severity.CRITICAL, ("here",))


def test_a_shorthand_has_projects_and_a_condition_like_any_rule() -> None:
    settings = config(destination("slack.team", events=("task/*",), projects=("p2",)))
    assert recipients(settings, "task_failed") == {}
    settings = config(destination("slack.team", events=("task/*",), projects=("Sales*",), when="event.error"))
    assert recipients(settings, "task_failed") == {"slack.team": ("slack.team",)}
    assert recipients(settings, "task_started") == {}


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "gpu_warmed"])
def test_without_any_rule_every_destination_gets_ends_of_runs_and_the_agents_trouble(event_type: str) -> None:
    settings = config(SLACK, FILE, watcher("prometheus.all", events=("output",)))
    everybody: tuple[str, ...] = ("slack.team", "file_log.audit")
    expected: dict[str, tuple[str, ...]] = {}
    if event_type in DEFAULT_TYPES:
        expected = {"default": everybody}
    elif event_type in AGENT_WARNING_TYPES:
        of_itself = "instance" in field_names(EVENT_TYPES[event_type])
        expected = {"agent": ("file_log.audit",) if of_itself else everybody}
    elif event_type == "agent_recovered":  # the sample's recipient
        expected = {"health": ("slack.team",)}
    elif event_type == "silence_ending":
        expected = {"silence": ("slack.team",)}
    elif event_type in WATCH_TROUBLE_TYPES:  # as a failure of its run
        expected = {"default": everybody}
    assert recipients(settings, event_type) == expected
    assert Router(settings).may_notify(event_type) is (expected != {})


def test_the_default_types_are_as_documented() -> None:
    assert sorted(DEFAULT_TYPES) == [
        "sandbox_error",
        "task_cancelled",
        "task_completed",
        "task_failed",
        "workflow_execution_completed",
        "workflow_execution_failed",
    ]
    assert sorted(AGENT_WARNING_TYPES) == [
        "agent_degraded",
        "destination_parked",
        "feed_gap",
        "login_failed",
        "plugin_failed",
        "store_degraded",
    ]


def test_without_any_rule_a_destination_may_still_have_settings_of_its_own() -> None:
    settings = config(
        SLACK, destination("file_log.audit", projects=("p2",)), destination("webhook.ops", mention=("x",))
    )
    assert recipients(settings, "task_failed") == {"webhook.ops": ("webhook.ops",), "default": ("slack.team",)}


@pytest.mark.parametrize(
    "part", [rule("r", "output", "file_log.audit"), destination("webhook.ops", events=("output",))]
)
def test_one_rule_ends_the_defaults_for_everybody(part: Any) -> None:
    assert recipients(config(SLACK, FILE, part), "task_failed") == {}


def test_trouble_of_the_agent_goes_to_every_destination_but_its_cause() -> None:
    settings = config(SLACK, FILE, HOOK, rule("r", "task_failed", "file_log.audit"))
    healthy = ("file_log.audit", "webhook.ops")
    assert recipients(settings, "login_failed") == {"agent": ("slack.team", *healthy)}
    assert recipients(settings, "destination_parked") == {"agent": healthy}
    assert recipients(settings, "plugin_failed") == {"agent": healthy}
    assert recipients(settings, "plugin_failed", instance="prometheus.all") == {"agent": ("slack.team", *healthy)}
    assert recipients(settings, "agent_started") == {}
    assert recipients(settings, "destination_recovered") == {}
    assert recipients(config(SLACK), "destination_parked") == {}


def test_a_gap_goes_to_every_destination_only_if_events_were_lost() -> None:
    settings = config(SLACK, FILE)
    assert recipients(settings, "feed_gap", changed=3, tooOld=0) == {}
    assert recipients(settings, "feed_gap", tooOld=1) == {"agent": ("slack.team", "file_log.audit")}
    assert recipients(settings, "feed_gap", tooOld=0, incomplete=True) == {
        "agent": ("slack.team", "file_log.audit")
    }
    named = config(SLACK, rule("gaps", "feed_gap", "slack.team"))
    assert recipients(named, "feed_gap", changed=0, tooOld=0) == {"gaps": ("slack.team",)}


ABOUT_AN_INSTANCE = [name for name, model in EVENT_TYPES.items() if "instance" in field_names(model)]


@pytest.mark.parametrize("event_type", ABOUT_AN_INSTANCE)
@pytest.mark.parametrize("rules", [(), (rule("r", "agent/*", "slack.team file_log.audit"),)])
def test_no_destination_tells_of_its_own_trouble(event_type: str, rules: Any) -> None:
    rules_used = recipients(config(SLACK, FILE, *rules), event_type, instance="slack.team")
    assert not any("slack.team" in destinations for destinations in rules_used.values())


def test_a_rule_that_names_the_agents_events_takes_them_over() -> None:
    settings = config(SLACK, FILE, rule("ops", "agent/*", "slack.team"))
    assert recipients(settings, "login_failed") == {"ops": ("slack.team",)}
    assert recipients(settings, "agent_started") == {"ops": ("slack.team",)}
    assert recipients(settings, "destination_parked") == {"agent": ("file_log.audit",)}
    settings = config(SLACK, FILE, rule("ops", "login_failed", "slack.team"))
    assert recipients(settings, "login_failed") == {"ops": ("slack.team",)}
    assert recipients(settings, "plugin_failed") == {"agent": ("file_log.audit",)}


def test_the_agents_events_are_about_no_project() -> None:
    settings = config(SLACK, rule("r", "agent/*", "slack.team", projects=("*",)))
    assert recipients(settings, "login_failed") == {"agent": ("slack.team",)}
    assert recipients(settings, "agent_started") == {}


def test_a_rule_for_nobody_ends_the_search() -> None:
    settings = config(
        SLACK,
        FILE,
        rule("first", "task_failed", "file_log.audit"),
        rule("quietly", "task_* agent/*", "nobody", when="event.type != 'task_started'"),
        rule("all", "task/*", "slack.team file_log.audit"),
    )
    assert recipients(settings, "task_failed") == {"first": ("file_log.audit",)}
    assert recipients(settings, "task_completed") == {}
    assert recipients(settings, "task_started") == {"all": ("slack.team", "file_log.audit")}
    assert recipients(settings, "login_failed") == {}


def test_a_rule_for_nobody_alone_leaves_the_defaults() -> None:
    settings = config(SLACK, rule("quietly", "task_cancelled", "nobody"))
    assert recipients(settings, "task_failed") == {"default": ("slack.team",)}
    assert recipients(settings, "task_cancelled") == {}


def test_progress_that_only_a_rule_for_nobody_names_is_not_wanted() -> None:
    assert not Router(config(SLACK, rule("quietly", "output", "nobody"))).may_notify("output")


def test_unknown_events_go_where_they_are_asked_for() -> None:
    settings = config(SLACK, FILE, rule("new", "unknown/gpu_*", "slack.team"), rule("all", "*", "file_log.audit"))
    router = Router(settings)
    assert recipients(settings, "gpu_warmed") == {"new": ("slack.team",)}
    assert recipients(settings, "cpu_warmed") == {}
    assert router.may_notify("gpu_warmed")
    assert not router.may_notify("cpu_warmed")


def test_an_event_that_only_pretends_to_be_the_agents_is_an_unknown_one() -> None:
    pretender = UnknownEvent.from_wire({"type": "login_failed", "projectId": "p1"}, NOW)
    assert routed(config(SLACK), pretender) == []
    assert only(routed(config(SLACK, rule("new", "unknown/*", "slack.team")), pretender)).rule == "new"


@pytest.mark.parametrize(
    ("more", "event_type", "matches"),
    [
        ({}, "task_failed", True),
        ({"projects": ("p1",)}, "task_failed", True),
        ({"projects": ("Sales *",)}, "task_failed", True),
        ({"projects": ("p2", "q*")}, "task_failed", False),
        ({"when": "run.duration > 60"}, "task_failed", True),
        ({"when": "run.duration > 600"}, "task_failed", False),
        ({"when": "event.error"}, "task_cancelled", False),
        ({"projects": ("p2",), "when": "true"}, "task_failed", False),
    ],
)
def test_a_rule_looks_at_the_project_and_its_condition(more: Any, event_type: str, matches: bool) -> None:
    settings = config(SLACK, FILE, rule("r", "task/*", "slack.team", **more), rule("rest", "*", "slack.team"))
    assert recipients(settings, event_type) == {"r" if matches else "rest": ("slack.team",)}


def test_a_condition_that_raises_counts_as_a_match_and_is_logged_once() -> None:
    router = Router(config(SLACK, rule("r", "task/*", "slack.team", when="run.progress > 60")))
    event = happening("task_failed")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert only(router.route(event, run_of(event), SALES, NOW)).rule == "r"
    assert [(line["log_level"], line["rule"], line["part"]) for line in logs] == [("warning", "r", "when")]
    assert logs[0]["event"] == "a rule raised an exception"
    assert logs[0]["reason"].startswith("TypeError: ")
    assert logs[0]["so"] == "the rule counts as a match"


def test_the_reason_of_an_exception_is_one_short_line() -> None:
    router = Router(
        config(SLACK, rule("r", "task/*", "slack.team", when="{('x' * 999 + '\\n'): 1}['y' * 999 + run.id] + 1"))
    )
    event = happening("task_failed")
    with structlog.testing.capture_logs() as logs:
        router.route(event, run_of(event), SALES, NOW)
    assert len(logs) == 1
    assert len(logs[0]["reason"]) <= 500
    assert "\n" not in logs[0]["reason"]


@pytest.mark.parametrize(
    ("event_type", "fields", "thread"),
    [
        ("task_failed", {}, "p1/task/t-1/2"),
        ("workflow_execution_paused", {}, "p1/workflow/x-1/2"),
        ("sandbox_error", {}, "p1/sandbox/sb-1/2"),
        ("connection_error", {}, "project/p1"),
        ("gpu_warmed", {}, "project/p1"),
        ("agent_started", {}, "agent"),
        ("login_failed", {}, "agent"),
        ("destination_parked", {"instance": "webhook.ops"}, "agent/webhook.ops"),
        ("plugin_failed", {"instance": "prometheus.all"}, "agent/prometheus.all"),
        ("feed_gap", {}, "agent/p1"),
        ("store_degraded", {}, "agent/store"),
    ],
)
def test_a_thread_keeps_related_notifications_together(event_type: str, fields: Any, thread: str) -> None:
    settings = config(SLACK, rule("all", "* connection/* agent/* unknown/*", "slack.team"))
    assert only(routed(settings, happening(event_type, **fields))).thread == thread


def test_the_same_event_by_the_same_rule_has_the_same_id_and_no_other_has() -> None:
    settings = config(SLACK, FILE, rule("a", "*", "slack.team"), rule("b", "*", "file_log.audit"))
    event, same, other = (happening("task_failed", error=error) for error in ("x", "x", "y"))
    first, second = (sent.notification.id for sent in routed(settings, event))
    assert [sent.notification.id for sent in routed(settings, same)] == [first, second]
    assert first != second
    assert {first, second}.isdisjoint(sent.notification.id for sent in routed(settings, other))
    assert all(re.fullmatch("ntf_[0-9a-f]{32}", name) for name in (first, second))


def test_ids_are_in_the_order_of_the_events_to_the_millisecond() -> None:
    moments = [
        datetime.min.replace(tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        NOW - timedelta(milliseconds=1),
        NOW,
        datetime.max.replace(tzinfo=UTC),
    ]
    wire = happening("task_failed").wire()
    events = [EVENT_TYPES["task_failed"].from_wire(wire, moment) for moment in moments]
    ids = [only(routed(config(SLACK), event)).id for event in events]
    assert ids == sorted(ids)
    assert {len(name) for name in ids} == {36}
    assert [int(name[4:16], 16) for name in ids[:2]] == [0, 1000]


def test_one_notification_serves_every_destination_of_a_rule() -> None:
    [sent] = routed(config(SLACK, FILE), happening("task_failed"))
    assert sent.destinations == ("slack.team", "file_log.audit")


def test_an_event_of_the_library_needs_no_wire_form() -> None:
    settings = config(SLACK, rule("r", "agent/*", "slack.team"))
    assert (
        only(routed(settings, AgentStartedEvent(timestamp=NOW, projects=1))).title == "AInTandem Notify is running"
    )


def test_the_event_and_run_of_a_notification_hold_no_secret() -> None:
    register_secret("sesame-4711")
    leak = {"error": "login with sesame-4711 refused", "extra": {"argv": ["--password", "sesame-4711"]}}
    settings = config(SLACK, rule("r", "task/*", "slack.team"))
    notification = only(routed(settings, happening("task_failed", **leak), output_tail="$ login sesame-4711"))
    assert "sesame" not in notification.model_dump_json()
    assert notification.event.wire()["extra"] == {"argv": ["--password", "[redacted]"]}
    assert notification.run is not None
    assert notification.run.output_tail == "$ login [redacted]"


def test_an_event_without_secrets_is_passed_on_as_it_is() -> None:
    event = happening("task_failed")
    assert only(routed(config(SLACK, rule("r", "task/*", "slack.team")), event)).event is event


def test_trouble_of_a_destination_is_told_by_those_that_work() -> None:
    settings = config(SLACK, FILE, HOOK)
    assert recipients(settings, "agent_degraded", excluded=["slack.team"]) == {
        "agent": ("file_log.audit", "webhook.ops")
    }
    assert recipients(settings, "agent_degraded", excluded=["slack.team", "file_log.audit", "webhook.ops"]) == {}


def test_trouble_of_all_destinations_that_a_rule_names_is_told_by_the_others() -> None:
    settings = config(SLACK, FILE, HOOK, rule("health", "agent/*", "slack.team"))
    assert recipients(settings, "agent_degraded") == {"health": ("slack.team",)}
    assert recipients(settings, "agent_degraded", excluded=["slack.team"]) == {
        "agent": ("file_log.audit", "webhook.ops")
    }


def test_trouble_that_no_rule_takes_goes_to_everybody() -> None:
    settings = config(SLACK, FILE, rule("r", "agent_degraded", "slack.team", when="event.failing"))
    assert recipients(settings, "agent_degraded", failing=False, excluded=["slack.team"]) == {
        "agent": ("file_log.audit",)
    }
    assert recipients(settings, "agent_degraded", failing=True) == {"r": ("slack.team",)}


def test_the_end_goes_to_all_who_got_the_begin_and_nobody_else() -> None:
    settings = config(SLACK, FILE, HOOK, rule("r", "agent_recovered", "slack.team webhook.ops", title="fine"))
    got = {"recipients": ["slack.team", "file_log.audit", "long.gone"]}
    assert recipients(settings, "agent_recovered", **got) == {"r": ("slack.team",), "health": ("file_log.audit",)}
    assert recipients(settings, "agent_recovered", recipients=[]) == {}
    [own, default] = routed(settings, happening("agent_recovered", **got))
    assert own.notification.title == "fine"
    assert default.notification.title == "Over after 5 min 12 s: No link to project p1"


def test_begin_and_end_of_trouble_are_one_thread() -> None:
    settings = config(SLACK)
    begin = happening("agent_degraded")
    end = happening("agent_recovered", begunBy=begin.key, recipients=["slack.team"])
    [first, last] = [only(routed(settings, event)) for event in (begin, end)]
    assert first.thread == last.thread == f"agent/health/{begin.key}"


def test_without_texts_all_but_the_texts_is_as_usual() -> None:
    rules = (rule("r", "task/*", "slack.team", severity=Severity.CRITICAL), rule("s", "task/*", "file_log.audit"))
    router = Router(config(SLACK, FILE, *rules))
    event = happening("task_failed", error="some text")
    run = run_of(event)
    usual = router.route(event, run, SALES, NOW)
    bare = router.route_without_texts(event, run, SALES, NOW)
    assert [sent.destinations for sent in bare] == [("slack.team",), ("file_log.audit",)]
    for one, other in zip(usual, bare, strict=True):
        notification = other.notification
        for name in ("id", "thread", "severity", "rule", "created_at"):
            assert getattr(notification, name) == getattr(one.notification, name)
        assert run is not None
        assert notification.run is not None
        assert notification.run.thread == run.thread
        assert notification.project is not None
        assert notification.project.id == SALES.id
        assert notification.event.type == "task_failed"
        assert "some text" not in repr(notification)


@pytest.mark.parametrize("event_type", ["connection_error", "feed_gap"])
def test_without_texts_the_thread_is_that_of_the_project_or_the_agent(event_type: str) -> None:
    router, event = Router(config(SLACK, rule("r", event_type, "slack.team"))), happening(event_type)
    (usual,), (bare,) = (route(event, None, SALES, NOW) for route in (router.route, router.route_without_texts))
    assert bare.notification.thread == usual.notification.thread


def test_behind_a_rule_only_later_ones_are_asked_and_about_one_destination() -> None:
    rules = (
        rule("a", "task/*", "slack.team file_log.audit"),
        rule("b", "task/*", "slack.team file_log.audit", title="{{ project.name }} {{ run.name }}"),
    )
    router, event = Router(config(SLACK, FILE, *rules)), happening("task_failed")
    run = run_of(event)
    (sent,) = router.route_behind("a", "slack.team", event, run, SALES, NOW)
    assert (sent.notification.rule, sent.destinations) == ("b", ("slack.team",))
    assert (sent.notification.title, sent.notification.created_at) == ("Sales pipeline data-analysis", NOW)
    assert (sent.notification.run, sent.notification.project) == (run, SALES)
    assert router.route_behind("b", "slack.team", event, run, SALES, NOW) == []
    assert router.route_behind("gone since a reload", "slack.team", event, run, SALES, NOW) == []


def test_without_texts_no_condition_is_looked_at_but_the_project_is() -> None:
    router = Router(
        config(
            SLACK,
            FILE,
            rule("no", "task/*", "slack.team", projects=("p2",)),
            rule("r", "task/*", "slack.team", when="false"),
        )
    )
    event = happening("task_failed")
    assert router.route(event, run_of(event), SALES, NOW) == []
    bare = router.route_without_texts(event, run_of(event), SALES, NOW)
    assert only(bare).rule == "r"


def test_the_router_shows_people_its_routes_and_what_is_probably_wrong() -> None:
    settings = config(SLACK, FILE, rule("a", "task_failed", "slack.team"), rule("b", "task_failed", "slack.team"))
    router = Router(settings)
    by_a_or_b = [(route.event_type, route.rule) for route in router.routes_table() if route.rule in ("a", "b")]
    assert ("task_failed", "a") in by_a_or_b
    assert any("file_log.audit" in warning for warning in router.warnings())
