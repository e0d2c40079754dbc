"""The real ingest makes exactly the messages that the model of the stages predicts, in any world."""

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from support.stage_traces import Trace, play, predict, rounded, some_trace

EXAMPLES = int(os.environ.get("STAGE_EXAMPLES", "60"))
"""More of them take some 0.3 s each."""


@strategies.composite
def traces(draw: Any) -> Trace:
    return some_trace(lambda values: draw(strategies.sampled_from(list(values))), draw(strategies.integers(5, 20)))


def check(trace: Trace, url: str) -> None:
    assert play(trace, url) == sorted(map(rounded, predict(trace).told))


@given(traces())
@settings(max_examples=EXAMPLES)
def test_the_messages_are_those_of_the_model(trace: Trace) -> None:
    check(trace, "sqlite://")


@given(traces())
@settings(max_examples=max(1, EXAMPLES // 5))
def test_also_when_the_store_is_opened_again_at_each_start(trace: Trace) -> None:
    with TemporaryDirectory() as folder:
        check(trace, f"sqlite:///{Path(folder) / 'store.sqlite3'}")


@pytest.mark.parametrize("seed", range(int(os.environ.get("STAGE_SEEDS", "20"))))
def test_the_ends_of_trouble_and_flips_are_those_of_the_model(seed: int) -> None:
    chance = random.Random(seed)
    check(some_trace(lambda values: chance.choice(list(values)), 8, ends=True), "sqlite://")
