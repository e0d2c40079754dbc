"""Events that have not happened: made up, or of a file."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aintandem_notify.config import ProjectConfig
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.explainer import Explainer, StageState
from aintandem_notify.control.explain.made_up import MadeUpEvent, explain_made_up
from aintandem_notify.control.explain.requests import body_of, made_up_from_body
from aintandem_notify.control.explain.schemas import EventExplanation, Fate
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.notification import Project
from support.happenings import NOW
from support.routing import FILE, SLACK, config, rule

SALES = Project(id="p1", name="Sales")
SETTINGS = config(
    SLACK,
    FILE,
    rule("slow", "task_completed", "slack.team", when="run.duration > 600"),
    rule("new", "unknown/gpu_*", "slack.team"),
    rule("all", "* agent/* connection/*", "file_log.audit"),
)


def explain(fields: dict[str, Any], **more: Any) -> EventExplanation:
    explainer, known = Explainer(more.pop("settings", SETTINGS)), more.pop("known", [SALES])
    return explain_made_up(MadeUpEvent(fields, **more), explainer, known, StageState(), NOW)


def refusal(fields: dict[str, Any], **more: Any) -> str:
    with pytest.raises(RequestRefused) as refused:
        explain(fields, **more)
    return str(refused.value)


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_an_event_of_each_type_can_be_made_up(event_type: str) -> None:
    explanation = explain({"type": event_type})
    assert (explanation.type, explanation.occurred_at, explanation.key) == (event_type, NOW, None)
    assert explanation.notes == ()
    assert {fate.fate for fate in explanation.fates} <= {Fate.NOW}


def test_fields_project_time_and_duration_are_taken() -> None:
    at = NOW + timedelta(hours=3)
    slow = explain({"type": "task_completed", "task": "Nightly"}, project="Sales", at=at, duration_s=601)
    assert (slow.run, slow.project, slow.occurred_at) == ("Nightly", "Sales", at)
    assert [(fate.rule, fate.destination) for fate in slow.fates] == [
        ("slow", "slack.team"),
        ("all", "file_log.audit"),
    ]
    quick = explain({"type": "task_completed"}, duration_s=600)
    assert [fate.rule for fate in quick.fates] == ["all"]


def test_an_event_of_a_file_gets_only_the_ids_and_the_time_that_it_lacks() -> None:
    bare = explain({"type": "task_failed"}, is_sample=False)
    assert (bare.run_id, bare.title, bare.project) == ("task-1", 'Task "task-1" failed', "Sales")
    whole = explain(
        {"type": "task_failed", "taskId": "t7", "projectId": "other", "timestamp": "2026-01-01T00:00:00Z"},
        is_sample=False,
    )
    assert (whole.run_id, whole.project, whole.occurred_at.year) == ("t7", "other", 2026)


def test_a_type_that_this_version_does_not_know_is_for_rules_for_unknown_events() -> None:
    explanation = explain({"type": "gpu_warmed"}, is_sample=False)
    assert [fate.rule for fate in explanation.fates] == ["new"]
    assert explanation.notes == (
        "this version does not know the type gpu_warmed: only rules for unknown/* take it",
    )


def test_a_field_that_makes_no_sense_makes_an_unknown_event() -> None:
    explanation = explain({"type": "feed_gap", "seconds": {"a": 1}}, is_sample=False)
    assert explanation.notes == (
        "it is no valid feed_gap: a field is missing or wrong, so it counts as an unknown event",
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"type": "task_fail"}, "no event type is called task_fail; did you mean task_failed?"),
        ({"type": "zzz"}, "no event type is called zzz; there is task_queued,"),
        ({}, 'an event has a type, as {"type": "task_failed", "taskId": "task-1"}'),
        ({"type": 3}, "an event has a type"),
        ({"type": "task_failed", "x": float("inf")}, "the event is nested too deep, or has a number"),
    ],
)
def test_a_wrong_event_is_refused_with_the_way_to_mend_it(fields: dict[str, Any], sentence: str) -> None:
    assert refusal(fields).startswith(sentence)


def test_an_unknown_project_is_refused_with_the_nearest() -> None:
    named = replace(SETTINGS, projects=(ProjectConfig(id="p1", name="Sales"), ProjectConfig(id="hr-*")))
    event = {"type": "task_failed"}
    assert refusal(event, settings=named, project="Sale") == "no project here is called Sale; did you mean Sales?"
    assert refusal(event, settings=named, known=[], project="zzz") == (
        "no project here is called zzz; there is Sales, p1"
    )
    assert explain(event, settings=named, project="hr-1").project == "hr-1"


def test_a_body_says_the_same_as_its_event() -> None:
    made_up = MadeUpEvent({"type": "task_failed"}, False, "Sales", NOW, 3.5)
    assert made_up_from_body(body_of(made_up)) == made_up
    assert made_up_from_body({"event": {"type": "x"}}) == MadeUpEvent({"type": "x"})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "event should be an object"),
        ({"event": []}, "event should be an object"),
        ({"event": {}, "sample": 1}, "sample should be true or false"),
        ({"event": {}, "project": ""}, "project is empty"),
        ({"event": {}, "at": "soon"}, "at should be a time"),
        ({"event": {}, "duration": -1}, "duration should be a number of seconds"),
        ({"event": {}, "duration": True}, "duration should be a number of seconds"),
        ({"event": {}, "duration": "2"}, "duration should be a number of seconds"),
        ({"event": {}, "when": 1}, "unknown: when; there are at, duration, event, project, sample"),
    ],
)
def test_a_wrong_body_is_refused(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        made_up_from_body(body)
    assert str(refused.value).startswith(sentence)
