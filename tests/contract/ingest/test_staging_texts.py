"""Nasty texts go through every stage and through ``explain``: each failure is told, and nothing unfit is shown."""

from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from aintandem_notify.config import QuietConfig
from aintandem_notify.control.explain.explainer import Explainer, StageState
from aintandem_notify.control.explain.past import EventSearch, explain_stored, search_on
from aintandem_notify.domain.events import sanitize_value
from aintandem_notify.foundation.printable import escape_json
from support.nasty.texts import SECRETS, TEXTS
from support.outbox import NOW, PROJECT, memory
from support.routing import config, destination, rule
from support.staging import open_stages, until, with_quiet

pytestmark = pytest.mark.usefixtures("any_store")
NIGHT = {"night": QuietConfig.model_validate({"from": "00:00", "to": "00:30", "tz": "UTC"})}
STAGES: dict[str, dict[str, Any]] = {
    "settle": {"settle": 5},
    "once_per": {"once_per": "{{ event.error }}{{ event.task }}", "cooldown": 60},
    "group": {"group": {"by": ["task", "error", "{{ event.error }}"], "wait": 5}},
    "throttle": {"throttle": {"limit": 1, "per": 60}},
    "quiet": {"quiet": "night"},
}
RAISING = {"once_per": "{{ 1 / 0 }}"}, {"group": {"by": ["project", "{{ 1 / 0 }}"], "wait": 5}}
LATER = 3600


def nasty_texts() -> dict[str, str]:
    """The texts by run, as an event has them that was read from a frame."""
    return {f"t{number}": sanitize_value(text) for number, text in enumerate(TEXTS.values())}


@pytest.mark.parametrize("stage", STAGES)
async def test_each_nasty_text_is_told_and_explained(stage: str, autojump_clock: MockClock) -> None:
    settings = with_quiet(
        config(
            destination("slack.team"),
            rule("never", "task_failed", "slack.team", when="event.error == 1 or event.task == 1"),
            rule("all", "task_failed", "slack.team", **STAGES[stage]),
        ),
        **NIGHT,
    )
    explainer, runs = Explainer(settings), nasty_texts()
    async with memory() as storage, open_stages(storage, settings) as bench:
        for run, text in runs.items():
            await bench.happen("task_failed", run, task=text[:3000], error=text)
        await until(bench.clock, LATER)
        told = [notification for _, notification in await bench.notifications()]
        # Of equal texts, and of those that are equal without their secrets, once_per tells one.
        dropped = len(runs) - sum(getattr(note.event, "count", 1) for note in told)
        assert (dropped > 0) == (stage == "once_per")
        share = list(STAGES).index(stage)  # each text is explained behind one of the stages
        for run in list(runs)[share :: len(STAGES)]:
            search = EventSearch(run)
            while not search.is_complete:
                search = await storage.run(partial(search_on, search=search))
            [stored] = search.events
            past = await storage.run(partial(explain_stored, stored=stored, explainer=explainer, known=[PROJECT]))
            assert [fate.rule for fate in past.fates] == ["all"]
            now = explainer.fates_now((stored.event, None, PROJECT), NOW, StageState())
            for answer in (past.to_json(), *(fate.to_json() for fate in now)):
                assert escape_json(answer) == answer
                assert answer.encode()  # no lone surrogate
                assert not any(entry.secret in answer for entry in SECRETS.values())


@pytest.mark.parametrize("stages", RAISING, ids=["once_per", "group"])
async def test_a_template_that_raises_tells_each_at_once_and_is_logged_once(
    stages: dict[str, Any], autojump_clock: MockClock
) -> None:
    settings = config(destination("slack.team"), rule("odd", "task_failed", "slack.team", **stages))
    with capture_logs() as lines:
        async with memory() as storage, open_stages(storage, settings) as bench:
            await bench.fail("t1", "t2", "t3")
            assert [at for at, _ in await bench.titles()] == [0, 0, 0]
    warned = [line for line in lines if line["event"] == "a rule raised an exception"]
    assert [(line["rule"], line["part"], line["so"]) for line in warned] == [
        ("odd", next(iter(stages)), "it tells at once")
    ]


async def test_a_condition_that_raises_goes_through_the_stages_as_a_match(autojump_clock: MockClock) -> None:
    settings = config(
        destination("slack.team"),
        rule(
            "odd", "task_failed", "slack.team", when="1 / 0", title="{{ 1 / 0 }}", throttle={"limit": 1, "per": 60}
        ),
    )
    with capture_logs() as lines:
        async with memory() as storage, open_stages(storage, settings) as bench:
            await bench.fail("t1", "t2")
            await until(bench.clock, 61)
            assert [at for at, _ in await bench.titles()] == [0, 60]
    assert sorted(line["part"] for line in lines if line["event"] == "a rule raised an exception") == [
        "title",
        "when",
    ]
