"""How descriptors are shared out: what delivers and answers has its part, whatever is watched."""

import errno
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.open_files import (
    FEWEST,
    MOST_CONTROL,
    MOST_REQUESTS,
    NO_LIMIT,
    OWN,
    SIMULATED,
    file_budget,
    files_for,
    in_words,
    shortage,
    too_few,
)


@pytest.mark.parametrize(
    ("limit", "links", "requests", "control"),
    [(FEWEST, 11, 8, 4), (64, 19, 14, 6), (256, 115, 100, 16), (1024, 883, 100, 16), (20000, 19859, 100, 16)],
)
def test_a_small_limit_is_halved_and_a_large_one_is_for_links(
    limit: int, links: int, requests: int, control: int
) -> None:
    budget = file_budget(limit)
    assert (budget.links, budget.requests, budget.control) == (links, requests, control)


@given(limit=st.integers(FEWEST, 10**6), embedded=st.booleans())
def test_all_parts_together_stay_within_the_limit(limit: int, embedded: bool) -> None:
    budget = file_budget(limit, embedded=embedded)
    each = SIMULATED if embedded else 1
    links = 0 if budget.links == 1 else (budget.links + 1) * each  # one project is watched in any case
    assert OWN + links + budget.requests * each + budget.control <= limit + each
    assert min(budget.links, budget.requests, budget.control) >= 1
    assert budget.requests <= MOST_REQUESTS
    assert budget.control <= MOST_CONTROL


@given(projects=st.integers(1, 10**5), embedded=st.booleans())
def test_what_is_said_to_be_needed_is_enough_and_hardly_more(projects: int, embedded: bool) -> None:
    need = files_for(projects, embedded=embedded)
    each = SIMULATED if embedded else 1
    assert file_budget(need, embedded=embedded).links >= projects
    assert shortage(projects, need, embedded=embedded) is None
    if need - 2 * each > FEWEST + 2 * each:
        assert file_budget(need - 2 * each, embedded=embedded).links < projects


def test_who_has_no_limit_is_short_of_nothing() -> None:
    assert file_budget(None) == NO_LIMIT
    assert NO_LIMIT.links == math.inf
    assert shortage(10**6, None) is None
    assert too_few(None) is None


def test_the_sentences_say_what_is_needed_and_how_to_get_it() -> None:
    raise_it = "raise it with `ulimit -n`, or with LimitNOFILE= in a systemd unit"
    assert shortage(80, 64) == f"80 projects need about 186 open files, the limit is 64: {raise_it}"
    assert too_few(FEWEST) is None
    assert too_few(14) == f"only 14 files may be open at a time, and {FEWEST} are needed: {raise_it}"
    assert in_words(OSError(errno.EMFILE, "Too many open files")) == (
        f"too many files are open for the limit of this process: {raise_it}"
    )
    assert in_words(OSError(errno.ENFILE, "?")) == "too many files are open on this machine"
    assert in_words(OSError(errno.ENOSPC, "?")) is None
