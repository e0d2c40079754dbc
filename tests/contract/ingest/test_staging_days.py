"""Days of storms, gaps, quiet nights, silences, reloads and restarts, made by chance from a seed."""

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.stage_traces import (
    SAME,
    AddSilence,
    Choose,
    EndSilence,
    Happen,
    Link,
    Reload,
    Restart,
    Step,
    Trace,
    Wait,
    ends_of,
    play,
    predict,
    rounded,
    some_events,
    some_setup,
)

SEED = int(os.environ.get("STAGE_SEED", "15"))
HOURS = int(os.environ.get("STAGE_HOURS", "60"))
"""With 168, and 60 for the storm, it is a week of 10,000 runs, which takes minutes."""
STORM = int(os.environ.get("STAGE_STORM", "6"))
"""Runs in the largest storm."""
RESTARTS = 50


def days(choose: Choose) -> Iterator[Step]:
    """The steps. In an hour there is nothing, some work, or a storm of failures."""
    projects = tuple(f"project-{number}" for number in range(20))
    restarts = sorted(choose(range(HOURS)) for _ in range(RESTARTS))
    runs, silences = 0, 0
    for hour in range(HOURS):
        left = 3600
        for _ in range(restarts.count(hour)):
            down = choose((0, 1, 30, 300, 900))
            left -= down
            yield Restart(down, some_setup(choose) if choose(range(5)) == 0 else SAME)
        if choose(range(20)) == 0:
            yield Reload(some_setup(choose))
        if choose(range(8)) == 0:
            silences += 1
            matchers = choose(((("project", "project-1*"),), (("task", "train"),), (("destination", "slack.*"),)))
            yield AddSilence(f"s{silences}", matchers, choose((600, 3600, 5 * 3600)))
        if silences and choose(range(20)) == 0:
            yield EndSilence(f"s{silences}")
        if choose(range(10)) == 0:
            yield Link(up=choose((True, False)))
        storms = choose((0, 2, 2, 2, 8))
        for _ in range(storms):
            batch = []
            for _ in range(choose((1, 3, STORM))):
                runs += 1
                name, project, task = f"run-{runs}", choose(projects), choose(("train", "report"))
                kinds = ("task_started", choose(ends_of(task)))
                batch += [(kind, project, name, task, choose(("oom 5", "disk"))) for kind in kinds]
            yield Happen(tuple(batch), choose((0, 0, 45)))
            yield some_events(choose, 3)  # the same runs again and again
            pause = min(left, choose((1, 20, 40, 300, 1200)))
            left -= pause
            yield Wait(pause)
        yield Wait(max(0, left))
    yield Link(up=True)
    yield Wait(2 * 86400)


def test_days_make_the_messages_of_the_model(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # the same days for the same seed

    def choose(values: Sequence[Any]) -> Any:
        return values[chance.randrange(len(values))]

    trace = Trace(some_setup(choose), tuple(days(choose)))
    runs = {
        (project, run) for step in trace.steps if isinstance(step, Happen) for _, project, run, *_ in step.events
    }
    assert len(runs) > 100
    predicted = sorted(map(rounded, predict(trace).told))
    told = play(trace, f"sqlite:///{tmp_path / 'store.sqlite3'}")
    assert told == predicted, f"STAGE_SEED={SEED} STAGE_STORM={STORM}"
