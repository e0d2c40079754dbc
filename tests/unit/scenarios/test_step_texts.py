from dataclasses import replace
from datetime import timedelta

import pytest

from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.samples import sample_event
from aintandem_notify.scenarios.scenario import Happening, LinkChange, Restart, SilenceBegins, SilenceEnds, Step
from aintandem_notify.scenarios.step_texts import describe
from aintandem_notify.stages.silences import Silence
from support.outbox import NOW, PROJECT, event

SILENCE = Silence("deploy", {"project": "sales", "task": "t-*"}, NOW, NOW + timedelta(hours=2))
RESTART = Restart(at=NOW, line=1, until=NOW)


def happening(*events: object, project: Project | None = PROJECT) -> Happening:
    return Happening(at=NOW, line=1, project=project, events=events)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (happening(event("task_failed", "t1", task="train")), "task_failed train in Sales"),
        (
            happening(*(event("task_failed", f"t-{number}") for number in (1, 2, 3))),
            "3 × task_failed t-1 to t-3 in Sales",
        ),
        (happening(sample_event("plugin_failed"), project=None), "plugin_failed slack.team"),
        (happening(sample_event("login_failed"), project=None), "login_failed"),
        (SilenceBegins(at=NOW, line=1, silence=SILENCE), "silence deploy for 2h: project sales, task t-*"),
        (SilenceEnds(at=NOW, line=1, silence_id="deploy"), "silence deploy is ended"),
        (RESTART, "restart"),
        (replace(RESTART, until=NOW + timedelta(minutes=5)), "restart, the agent does not run for 5m"),
        (LinkChange(at=NOW, line=1, project=PROJECT, is_up=False), "link down: Sales"),
    ],
)
def test_a_step_in_words(step: Step, text: str) -> None:
    assert describe(step) == text
