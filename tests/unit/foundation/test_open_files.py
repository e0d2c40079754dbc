"""The shares of the descriptors: HTTP and control connections have their part for any number of projects."""

import errno
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.open_files import (
    AGENT_FILES,
    AMPLE_FILES,
    AMPLE_HTTP_CONNECTIONS,
    FILES_PER_SIMULATED_CONNECTION,
    MAX_CONTROL_CONNECTIONS,
    MAX_HTTP_CONNECTIONS,
    MIN_FILES,
    NO_LIMIT,
    describe_shortage,
    describe_too_low_limit,
    describe_too_many_files,
    file_budget,
    files_needed,
)


@pytest.mark.parametrize(
    ("limit", "links", "requests", "control"),
    [
        (MIN_FILES, 11, 8, 4),
        (64, 19, 14, 6),
        (256, 115, 100, 16),
        (1024, 883, 100, 16),
        (20000, 19859, 100, 16),
        (524_288, 523_247, 1000, 16),
    ],
)
def test_a_small_limit_is_halved_and_a_large_one_is_for_links(
    limit: int, links: int, requests: int, control: int
) -> None:
    budget = file_budget(limit)
    assert (budget.links, budget.requests, budget.control) == (links, requests, control)


@given(limit=st.integers(MIN_FILES, 10**6), embedded=st.booleans())
def test_all_parts_together_stay_within_the_limit(limit: int, embedded: bool) -> None:
    budget = file_budget(limit, embedded=embedded)
    each = FILES_PER_SIMULATED_CONNECTION if embedded else 1
    links = 0 if budget.links == 1 else (budget.links + 1) * each  # one project is watched in any case
    assert AGENT_FILES + links + budget.requests * each + budget.control <= limit + each
    assert min(budget.links, budget.requests, budget.control) >= 1
    assert budget.requests <= (AMPLE_HTTP_CONNECTIONS if limit >= AMPLE_FILES else MAX_HTTP_CONNECTIONS)
    assert budget.control <= MAX_CONTROL_CONNECTIONS


@given(projects=st.integers(1, 10**5), embedded=st.booleans())
def test_the_needed_limit_is_enough_and_hardly_more(projects: int, embedded: bool) -> None:
    need = files_needed(projects, embedded=embedded)
    each = FILES_PER_SIMULATED_CONNECTION if embedded else 1
    assert file_budget(need, embedded=embedded).links >= projects
    assert describe_shortage(projects, need, embedded=embedded) is None
    if need - 2 * each > MIN_FILES + 2 * each:
        assert file_budget(need - 2 * each, embedded=embedded).links < projects


def test_without_a_limit_nothing_is_short() -> None:
    assert file_budget(None) == NO_LIMIT
    assert NO_LIMIT.links == math.inf
    assert describe_shortage(10**6, None) is None
    assert describe_too_low_limit(None) is None


def test_the_sentences_name_the_needed_limit_and_the_way_to_get_it() -> None:
    raise_it = "raise it with `ulimit -n`, or with LimitNOFILE= in a systemd unit"
    assert describe_shortage(80, 64) == f"80 projects need about 186 open files, the limit is 64: {raise_it}"
    assert describe_too_low_limit(MIN_FILES) is None
    assert (
        describe_too_low_limit(14)
        == f"only 14 files may be open at a time, and {MIN_FILES} are needed: {raise_it}"
    )
    assert describe_too_many_files(OSError(errno.EMFILE, "Too many open files")) == (
        f"too many files are open for the limit of this process: {raise_it}"
    )
    assert describe_too_many_files(OSError(errno.ENFILE, "?")) == "too many files are open on this machine"
    assert describe_too_many_files(OSError(errno.ENOSPC, "?")) is None
