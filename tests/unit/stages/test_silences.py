"""Which notifications a silence holds, as a table."""

from datetime import timedelta

import pytest

from aintandem_notify.domain.notification import Severity
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.silences import Silence, silence_of
from support.outbox import NOW

TASK = Facts(
    "failures",
    "slack.team",
    "task_failed",
    "task",
    Severity.ERROR,
    project_id="p-1",
    project_name="Sales",
    run_id="t-1",
    run_name="train resnet",
    workflow_id="nightly",
)
WORKFLOW = Facts(
    "failures",
    "slack.team",
    "workflow_execution_failed",
    "workflow",
    Severity.ERROR,
    run_id="exec-7",
    workflow_id="nightly",
)
SANDBOX = Facts("failures", "slack.team", "sandbox_error", "sandbox", Severity.ERROR, run_id="box-9")
AGENT = Facts("agent", "slack.team", "feed_gap", "agent", Severity.WARNING, project_id="p-1", project_name="Sales")


def silence(silence_id: str, hours: float, matchers: dict[str, str]) -> Silence:
    return Silence(silence_id, matchers, NOW, NOW + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("matchers", "matching"),
    [
        ({"project": "p-1"}, "task"),
        ({"project": "Sal*"}, "task"),
        ({"project": "p-1", "type": "*"}, "task agent"),
        ({"task": "train*"}, "task"),
        ({"task": "t-1"}, "task"),
        ({"task": "*"}, "task"),
        ({"workflow": "nightly"}, "task workflow"),
        ({"workflow": "exec-*"}, "workflow"),
        ({"sandbox": "box-[0-9]"}, "sandbox"),
        ({"rule": "failures"}, "task workflow sandbox"),
        ({"rule": "agent"}, ""),  # events of the agent are held only if their type is named
        ({"destination": "slack.*"}, "task workflow sandbox"),
        ({"type": "task_*"}, "task"),
        ({"type": "agent/*"}, "agent"),
        ({"type": "*_failed", "workflow": "nightly"}, "task workflow"),
        ({"type": "*_failed", "task": "other"}, ""),
    ],
    ids=str,
)
def test_a_silence_holds_what_all_its_matchers_match(matchers: dict[str, str], matching: str) -> None:
    events = {"task": TASK, "workflow": WORKFLOW, "sandbox": SANDBOX, "agent": AGENT}
    assert [name for name, facts in events.items() if silence("s", 1, matchers).matches(facts)] == matching.split()


def test_the_silence_that_lasts_longest_holds() -> None:
    silences = [
        silence("short", 1, {"task": "*"}),
        silence("long", 2, {"task": "*"}),
        silence("other", 3, {"task": "x"}),
    ]
    assert silence_of(TASK, silences, NOW) == silences[1]
    assert silence_of(TASK, silences, NOW + timedelta(hours=2)) is None
    assert silence_of(TASK, silences, NOW - timedelta(seconds=1)) is None
