"""How much trouble the fault suite makes: a little with every run of the tests, a lot where that is asked for.

``AINTANDEM_NOTIFY_FAULTS=long`` asks for a lot, for all tests that take the fixture ``counts``;
``python -m benchmarks.faults`` sets it, runs them and prints what came of it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pytest

Record = Callable[[str, object], None]
"""Takes a figure of a test by its name."""

VARIABLE: Final = "AINTANDEM_NOTIFY_FAULTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How often, how many, how fast."""

    kills: int
    """SIGKILLs at random moments, while ``kill_events`` events flow."""
    kill_events: int
    ends: int
    """SIGTERMs in the same manner, while ``end_events`` events flow."""
    end_events: int
    flood: int
    """Events of output in each of ten bursts, which begin ``flood_every_s`` seconds apart or later."""
    flood_every_s: float
    projects: int
    """Watched at one server that restarts ``restarts`` times."""
    restarts: int
    reconnect_s: float
    """Seconds over which the first tries after a restart are spread."""
    channels: int
    """Slack channels, each down while ``runs`` runs of three messages are queued for it."""
    runs: int
    rate: int
    """Messages a second and channel."""
    folded: int
    """Messages that matter least, waiting at one channel for an hour beside ``errors`` that do."""
    errors: int
    paced: int
    """Messages that wait for one channel, in virtual time."""
    refusals: int
    """Answers of 429 in a row."""
    quarters: int
    """How much is tried of those nasty inputs that cost much time each: so many in four."""
    seconds: float
    """The most that one agent may be at work."""


SHORT: Final = Counts(
    kills=5,
    kill_events=250,
    ends=5,
    end_events=250,
    flood=2_000,
    flood_every_s=0.0,
    projects=30,
    restarts=4,
    reconnect_s=0.5,
    channels=2,
    runs=10,
    rate=20,
    folded=60,
    errors=3,
    paced=250,
    refusals=1,
    quarters=1,
    seconds=600.0,
)
LONG: Final = Counts(
    kills=200,
    kill_events=10_000,
    ends=20,
    end_events=1_000,
    flood=50_000,
    flood_every_s=1.0,
    projects=200,
    restarts=20,
    reconnect_s=2.0,
    channels=20,
    runs=84,
    rate=1,
    folded=4_500,
    errors=500,
    paced=5_000,
    refusals=3,
    quarters=4,
    seconds=1800.0,
)
"""A night's worth: minutes for most, the better part of an hour for all of them."""

_BY_NAME: Final = {"": SHORT, "short": SHORT, "long": LONG}


def counts_of(environ: Mapping[str, str]) -> Counts:
    """The counts that are asked for; raises ``ValueError`` for what is none of them."""
    name = environ.get(VARIABLE, "")
    if name not in _BY_NAME:
        raise ValueError(f"{VARIABLE}={name}: it is short or long")
    return _BY_NAME[name]


@pytest.fixture(scope="session")
def counts() -> Counts:
    """How much trouble the tests are to make."""
    return counts_of(os.environ)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Keeps figures of the test for whoever prints them. pytest's own fixture warns beside ``--junitxml``."""
    return lambda name, value: request.node.user_properties.append((name, value))
