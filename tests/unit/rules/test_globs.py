"""Globs match event types and projects."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Family
from aintandem_notify.domain.notification import Project
from aintandem_notify.rules import EventFilter
from aintandem_notify.rules.globs import (
    glob_problem,
    is_for_unknown,
    is_named,
    matches_unknown,
    matching_types,
    project_matcher,
)
from support.happenings import SALES, happening

WIRE = {name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}


def of_family(family: Family) -> set[str]:
    return {name for name, model in EVENT_TYPES.items() if model.family is family}


@pytest.mark.parametrize(
    ("glob", "types"),
    [
        ("*", WIRE),
        ("*/*", WIRE),
        ("task_failed", {"task_failed"}),
        ("*_failed", {"task_failed", "workflow_execution_failed"}),
        ("task_*", {name for name in EVENT_TYPES if name.startswith("task_")}),
        ("task/*", of_family(Family.TASK)),
        ("workflow/*", of_family(Family.WORKFLOW)),
        ("sandbox/*", of_family(Family.SANDBOX)),
        ("connection/*", of_family(Family.CONNECTION)),
        ("agent/*", of_family(Family.AGENT)),
        ("connection_*", of_family(Family.CONNECTION)),
        ("destination_*", {"destination_parked", "destination_recovered"}),
        ("agent/*_failed", {"login_failed", "plugin_failed"}),
        ("login_failed", {"login_failed"}),
        ("task/task_failed", {"task_failed"}),
        ("workflow_execution_[pr]*", {"workflow_execution_paused", "workflow_execution_resumed"}),
        ("[!w]*_failed", {"task_failed"}),
        ("??????", {"output"}),
        ("*_connected", set()),
        ("TASK_FAILED", set()),
        ("task", set()),
        ("unknown/*", set()),
    ],
)
def test_a_glob_means_these_known_types(glob: str, types: set[str]) -> None:
    assert matching_types(glob) == types


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_type_can_be_named(name: str) -> None:
    assert matching_types(name) == {name}
    assert matching_types(f"{EVENT_TYPES[name].family}/{name}") == {name}
    assert glob_problem(name) is None


PROBLEMS = [
    ("", "should not be empty"),
    ("task_faild", "no event type called task_faild; did you mean task_failed?"),
    ("zebra", "no event type called zebra"),
    ("task", "no event type called task; did you mean task/*?"),
    ("agent", "no event type called agent; did you mean agent/*?"),
    ("tsk/*", "no family of events called tsk; did you mean task?"),
    ("zebra/*", "no family of events called zebra"),
    ("task/a/b", "no event type matches task/a/b"),
    ("task/login_failed", "no event type called task/login_failed; did you mean agent/login_failed?"),
    ("task/task_faild", "no event type matches task/task_faild; did you mean task/task_failed?"),
    ("zeb*", "no event type matches zeb*"),
    ("conection_*", "no event type matches conection_*; did you mean connection_error?"),
    (
        "*_connected",
        (
            "no event type matches *_connected; events of the family connection must be named, as"
            " connection/connection_connected"
        ),
    ),
    ("[task_failed", "the [ in it is not closed"),
    ("task_[]", "the [ in it is not closed"),
    ("unknown/", "should name a type after the slash; unknown/* means all"),
]


@pytest.mark.parametrize(("glob", "problem"), PROBLEMS, ids=[glob for glob, _ in PROBLEMS])
def test_a_glob_without_a_match_gets_a_suggestion(glob: str, problem: str) -> None:
    assert glob_problem(glob) == problem


def test_a_glob_of_brackets_alone_is_looked_through_once() -> None:
    """A look-ahead from each bracket would take an hour."""
    assert glob_problem("[" * 500_000 + "]") == "the [ in it is not closed"


@pytest.mark.parametrize(
    "glob", ["*", "*_failed", "agent/*", "unknown/*", "unknown/gpu_warmed", "task_[cf]*", "task_[f]ailed"]
)
def test_a_glob_that_means_something_is_fine(glob: str) -> None:
    assert glob_problem(glob) is None


@given(st.text())
def test_a_glob_without_a_problem_means_something(glob: str) -> None:
    assert (glob_problem(glob) is None) == bool(
        matching_types(glob) or (is_for_unknown(glob) and glob != "unknown/")
    )


@given(st.sampled_from(sorted(WIRE)), st.data())
def test_any_part_of_a_type_can_be_a_wildcard(name: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(name)))
    end = data.draw(st.integers(start, len(name)))
    assert name in matching_types(f"{name[:start]}*{name[end:]}")


@pytest.mark.parametrize(
    ("glob", "event_type", "expected"),
    [
        ("unknown/*", "gpu_warmed", True),
        ("unknown/gpu_*", "gpu_warmed", True),
        ("unknown/gpu_warmed", "gpu_warmed", True),
        ("unknown/gpu_cooled", "gpu_warmed", False),
        ("*", "gpu_warmed", False),
        ("gpu_warmed", "gpu_warmed", False),
    ],
)
def test_unknown_types_must_be_asked_for_as_such(glob: str, event_type: str, expected: bool) -> None:
    assert matches_unknown(glob, event_type) is expected


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (None, True),
        (["p1"], True),
        (["p*"], True),
        (["Sales pipeline"], True),
        (["Sales*"], True),
        (["p"], False),
        (["other", "p?"], True),
        (["sales*"], False),
        (["(p1"], False),
    ],
)
def test_a_project_is_meant_by_its_id_or_name(globs: list[str] | None, expected: bool) -> None:
    assert project_matcher(globs)(SALES) is expected
    assert project_matcher(globs)(None) is (globs is None)


@given(st.text(), st.text())
def test_every_project_is_meant_by_its_own_name(project_id: str, name: str) -> None:
    project = Project(id=project_id, name=name)
    for text in (project_id, name):
        assert project_matcher([re.sub(r"([*?[])", r"[\1]", text)])(project)


@pytest.mark.parametrize(
    ("events", "projects", "event_type", "expected"),
    [
        (None, None, "output", True),
        (None, None, "agent_started", True),
        (None, None, "gpu_warmed", True),
        (None, ["p1"], "output", True),
        (None, ["p2"], "output", False),
        (None, ["p1"], "agent_started", False),
        (["*"], None, "output", True),
        (["*"], None, "agent_started", False),
        (["*"], None, "gpu_warmed", False),
        (["unknown/*"], None, "gpu_warmed", True),
        (["unknown/*"], None, "output", False),
        (["task/*", "agent/*"], None, "agent_started", True),
        (["task/*"], ["p2"], "output", False),
        (["task/*"], ["Sales*"], "output", True),
    ],
)
def test_a_watcher_sees_the_events_of_its_filter(
    events: Any, projects: Any, event_type: str, expected: bool
) -> None:
    event = happening(event_type)
    project = None if event.family is Family.AGENT else SALES
    assert EventFilter(events, projects).matches(event, project) is expected


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("p1", ["p1"], True),
        ("p1", ["p10", "xp1"], False),
        ("p?", ["p1"], True),
        ("sales *", [None, "sales pipeline"], True),
        ("[a]", ["a"], True),
        ("[a]", ["[a]"], True),
        ("*", [None], False),
        ("*", [], False),
    ],
)
def test_a_run_or_project_is_named_by_a_text_or_a_glob(text: str, names: list[str | None], expected: bool) -> None:
    assert is_named(text, names) is expected
