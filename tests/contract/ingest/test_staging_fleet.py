"""Two agents on one PostgreSQL, of which any may die at any statement, make the messages of the model."""

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from support.outbox import NOW
from support.postgres import Postgres, patient_stores
from support.stage_fleet import FleetStep, Kill, follow, play_fleet, some_fleet_trace
from support.stage_model_words import RuleSketch, Setup
from support.stage_traces import PROJECTS, AddSilence, Happen, Wait, rounded

FIRST_SEED = int(os.environ.get("STAGE_FLEET_SEED", "0"))
SEEDS = int(os.environ.get("STAGE_FLEET_SEEDS", "8"))
"""Each takes about a second with 25 steps, and four with 90."""
LENGTH = int(os.environ.get("STAGE_FLEET_STEPS", "25"))


@pytest.fixture(autouse=True)
def _dropped(postgres: Postgres) -> Iterator[None]:
    yield
    postgres.drop_databases()


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_two_agents_make_the_messages_of_the_model(seed: int, postgres: Postgres) -> None:
    chance = random.Random(seed)

    def choose(values: Sequence[Any]) -> Any:
        return values[chance.randrange(len(values))]

    trace, steps = some_fleet_trace(choose, LENGTH)
    with patient_stores():
        played = play_fleet(trace.setup, steps, trace.begin, postgres.new_database())
    predicted = sorted(map(rounded, follow(trace.setup, trace.begin, played.history).told))
    assert played.told == predicted


def test_the_word_before_a_silence_ends_is_said_once_at_whichever_statement_an_agent_dies(
    postgres: Postgres,
) -> None:
    setup = Setup((RuleSketch("all", ("task_failed",), ("slack.team",)),))
    failures = tuple(("task_failed", project, "train-1", "train", "disk") for project in PROJECTS)
    deaths = set()
    for statement in range(1, 22, 3):
        steps: tuple[FleetStep, ...] = (
            AddSilence("s1", (("task", "train"),), 1000),
            Happen(failures),
            Wait(880),
            *(Kill(agent, statement, 12) for agent in (0, 1)),
            Wait(200),
        )
        played = play_fleet(setup, steps, NOW, postgres.new_database())
        deaths.add(played.deaths)
        assert played.words == ["s1"]
        assert [message.kind for message in played.told] == ["silence"]
        assert played.told == sorted(map(rounded, follow(setup, NOW, played.history).told))
    assert max(deaths) == 2
