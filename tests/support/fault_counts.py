"""The counts of the fault suite: small ones in every test run, large ones on request.

``AINTANDEM_NOTIFY_FAULTS=long`` requests large counts for all tests with the fixture ``counts``.
``python -m benchmarks.faults`` sets it, runs those tests and prints their results.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pytest

Record = Callable[[str, object], None]
"""Records a figure of a test by its name."""

VARIABLE: Final = "AINTANDEM_NOTIFY_FAULTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers and rates of faults."""

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
    """Projects of one server that restarts ``restarts`` times."""
    restarts: int
    reconnect_s: float
    """Seconds over which the first tries after a restart are spread."""
    channels: int
    """Slack channels, each down while ``runs`` runs of three messages are queued for it."""
    runs: int
    rate: int
    """Messages a second and channel."""
    folded: int
    """Messages of the lowest severity that wait for one channel for an hour, beside ``errors`` that are errors."""
    errors: int
    paced: int
    """Messages that wait for one channel, in virtual time."""
    refusals: int
    """Consecutive responses of 429."""
    quarters: int
    """Share of the slow nasty inputs that are tested, in quarters."""
    seconds: float
    """Time limit for the work of one agent, in seconds."""


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
"""Counts of a long night: minutes for most tests, the better part of an hour for all of them."""

_BY_NAME: Final = {"": SHORT, "short": SHORT, "long": LONG}


def counts_of(environ: Mapping[str, str]) -> Counts:
    """The requested counts. Raises ValueError for an unknown name."""
    name = environ.get(VARIABLE, "")
    if name not in _BY_NAME:
        raise ValueError(f"{VARIABLE}={name}: it is short or long")
    return _BY_NAME[name]


@pytest.fixture(scope="session")
def counts() -> Counts:
    """The counts for this test run."""
    return counts_of(os.environ)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Records figures of the test for ``benchmarks.faults``. pytest's own fixture warns with ``--junitxml``."""
    return lambda name, value: request.node.user_properties.append((name, value))
