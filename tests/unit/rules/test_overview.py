"""The routing table, and warnings about probable mistakes."""

from dataclasses import replace
from pathlib import Path

import pytest

from aintandem_notify.config import ProjectConfig
from aintandem_notify.config.rule_config import EscalationConfig
from aintandem_notify.domain.notification import Severity
from aintandem_notify.plugins import Catalog
from aintandem_notify.rules import Route, Router
from aintandem_notify.rules.overview import misread_durations
from support.routing import config, destination, rule, watcher

SLACK, FILE = destination("slack.team"), destination("file_log.audit", is_for_people=False)


def rows(*parts: object) -> list[Route]:
    return Router(config(*parts)).routes_table()  # type: ignore[arg-type]  # pydantic converts it


def warnings(*parts: object) -> list[str]:
    return Router(config(*parts)).warnings()  # type: ignore[arg-type]  # pydantic converts it


def test_the_table_has_a_row_for_each_type_and_rule_in_the_order_of_the_types() -> None:
    table = rows(
        SLACK,
        FILE,
        rule("long", "task_failed", "slack.team", when="run.duration > 60", severity=Severity.CRITICAL),
        rule("all", "task_failed task_started unknown/*", "slack.team file_log.audit"),
        rule("never", "task_failed", "file_log.audit"),
        rule("sales", "sandbox_error", "slack.team", projects=("sales-*",)),
    )
    both = ("slack.team", "file_log.audit")
    assert [route for route in table if route.rule != "agent"] == [
        Route("task_started", "all", both, Severity.INFO),
        Route("task_failed", "long", ("slack.team",), Severity.CRITICAL, when="run.duration > 60"),
        Route("task_failed", "all", both, Severity.ERROR),
        Route("sandbox_error", "sales", ("slack.team",), Severity.ERROR, projects=("sales-*",)),
        Route("unknown/*", "all", both, Severity.INFO),
    ]


@pytest.mark.parametrize(
    "when",
    [
        "event.duration > 60",
        "60 < event.duration",
        "(event.duration or 0) >= 1.5",
        "event.duration / 1000 > 60",
        "event['duration'] == 3",
        "event.wire.duration > 60",
        'event.wire["duration"] > 60',
        "event.type == 'task_completed' and not event.duration < 60",
    ],
)
def test_a_comparison_of_the_duration_that_the_orchestrator_sent_is_a_warning(when: str) -> None:
    (finding,) = misread_durations(config(SLACK, rule("long", "*", "slack.team", when=when)))
    assert finding.place == ("rules", 0, "when")
    assert "write run.duration, which is in seconds" in finding.message


@pytest.mark.parametrize(
    "when",
    [
        "run.duration > 60",
        "event.duration is not none",
        "event.duration is none or run.duration > 60",
        "event.duration == event.wire.total",
        "event.message == 'duration > 60' and event.progress > 50",
        "event.wire.input.duration > 60",
    ],
)
def test_another_use_of_a_duration_is_no_warning(when: str) -> None:
    assert misread_durations(config(SLACK, rule("long", "*", "slack.team", when=when))) == []


def test_texts_and_the_rules_of_instances_are_looked_at_too() -> None:
    found = misread_durations(
        config(
            destination("console.me", events=("*",), when="event.duration > 60"),
            rule("a", "*", "console.me", title="{{ event.duration | duration }}"),
            rule("b", "*", "console.me", body="{% if event.duration > 60 %}long{% endif %}{{ event.duration }}"),
            rule("c", "*", "console.me", body="{{ run.duration | duration }} {{ event.duration }} ms"),
        )
    )
    assert [finding.place for finding in found] == [
        ("rules", 0, "title"),
        ("rules", 1, "body"),
        ("plugins", "console", "me", "when"),
    ]


def test_the_defaults_stand_in_the_table_too() -> None:
    assert [(route.event_type, route.rule) for route in rows(SLACK)] == [
        ("task_completed", "default"),
        ("task_failed", "default"),
        ("task_cancelled", "default"),
        ("workflow_execution_completed", "default"),
        ("workflow_execution_failed", "default"),
        ("sandbox_error", "default"),
        ("agent_degraded", "agent"),
        ("login_failed", "agent"),
        ("plugin_failed", "agent"),
        ("destination_parked", "agent"),
        ("store_degraded", "agent"),
        ("feed_gap", "agent"),
    ]


def test_a_sensible_config_has_no_warnings() -> None:
    assert warnings(SLACK, FILE) == []
    assert warnings(SLACK, rule("r", "*_failed", "slack.team")) == []
    assert warnings(FILE, rule("r", "*", "file_log.audit")) == []


def test_a_flood_into_a_chat_or_onto_a_desktop_is_warned_of() -> None:
    assert warnings(
        SLACK, destination("desktop_notify.me", events=("output",)), rule("r", "task/*", "slack.team")
    ) == [
        f"rule {name} sends every {event_type} event to {where}; one task can have thousands of them"
        for event_type, name, where in [
            ("step_progress", "r", "slack.team"),
            ("output", "r", "slack.team"),
            ("output", "desktop_notify.me", "desktop_notify.me"),
        ]
    ]


def test_no_flood_is_warned_of_where_nobody_reads_each_notification() -> None:
    assert warnings(destination("file_log.audit", is_for_people=False, events=("output",))) == []


@pytest.mark.parametrize(
    ("name", "is_for_people"),
    [("slack", True), ("desktop_notify", True), ("webhook", False), ("file_log", False), ("console", False)],
)
def test_people_read_the_notifications_of_some_built_in_plugins(name: str, is_for_people: bool) -> None:
    assert Catalog().find(name, Path("plugins")).is_for_people is is_for_people


@pytest.mark.parametrize("glob", ["p-1", "Sales*", "other", "*"])
def test_a_rule_for_a_project_that_is_not_watched_is_warned_of(glob: str) -> None:
    settings = config(SLACK, rule("r", "*_failed", "slack.team", projects=(glob,)))
    known = replace(settings, projects=(ProjectConfig(id="p-1", name="Sales pipeline"),))
    sentence = "rule r is for other only, and no project here has such an id or name"
    assert Router(known).warnings() == ([sentence] if glob == "other" else [])
    assert Router(settings).warnings() == []  # all projects are watched, and their names are unknown


def test_a_rule_that_never_sends_is_warned_of() -> None:
    assert (
        warnings(
            SLACK, rule("a", "*", "slack.team", severity=Severity.INFO), rule("b", "task_failed", "slack.team")
        )[-1]
        == "rule b never sends anything; the rules before it take all of its events"
    )


def test_a_destination_that_gets_nothing_is_warned_of() -> None:
    assert warnings(SLACK, FILE, rule("r", "task_failed", "slack.team")) == [
        "file_log.audit gets only the agent's own warnings and errors; no rule names it, and events is not set"
    ]


def test_a_destination_that_takes_over_need_not_get_anything_else() -> None:
    slack = destination("slack.team", fallback="file_log.audit")
    assert warnings(slack, FILE, rule("r", "task_failed", "slack.team")) == []


def test_an_agent_without_destinations_gets_a_warning() -> None:
    assert warnings(watcher("prometheus.all")) == [
        "there is no destination: nobody will be notified; add a table like [plugins.console.me]"
    ]


def test_a_destination_of_an_escalation_or_a_watch_gets_something() -> None:
    step = EscalationConfig(after="5m", notify=("file_log.audit",))
    assert warnings(SLACK, FILE, rule("r", "task_failed", "slack.team", escalate=(step,))) == []
