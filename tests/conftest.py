"""Settings that every test shares."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog
from hypothesis import HealthCheck, settings

from aintandem_notify.log import redaction
from support.fault_counts import counts, record
from support.postgres import long_leases, own_postgres, postgres, postgres_url
from support.stores import any_store, store_url

__all__ = [
    "any_store",
    "counts",
    "long_leases",
    "own_postgres",
    "postgres",
    "postgres_url",
    "record",
    "store_url",
]

# The same examples on every run: a failure that comes and goes helps nobody. No deadline: CI machines stall.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
# Hypothesis also draws constants of modules that are imported by then, so the examples depend on earlier tests.
# No setting switches that off. If the function has moved inside of Hypothesis, examples only differ again.
with suppress(ImportError):
    from hypothesis.internal.conjecture import providers

    providers._get_local_constants = lambda: providers._local_constants


def pytest_xdist_auto_num_workers() -> int:
    """How many tests run side by side: one more than there are cores, for many of them wait."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(autouse=True)
def _secrets_end_with_their_test() -> Iterator[None]:
    """Secrets stay hidden while the process lives; so that no test cuts its own from the texts of another."""
    before = redaction.PROCESS.registered
    yield
    redaction.PROCESS.registered = before


@pytest.fixture(autouse=True)
def _logging_ends_with_its_test() -> Iterator[None]:
    """Undoes a test's changes to logging and signals of the process. A test begins with all log levels visible."""
    root = logging.getLogger()
    handlers, level, settings = root.handlers[:], root.level, structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**settings)
