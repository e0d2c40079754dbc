"""The counts of the fault suite, and the table of its benchmark."""

from dataclasses import fields

import pytest
from benchmarks.faults import VARIABLE as BENCHMARK_SETS
from benchmarks.faults import Row, cells

from support.fault_counts import LONG, SHORT, VARIABLE, Counts, counts_of


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, SHORT), ({VARIABLE: ""}, SHORT), ({VARIABLE: "short"}, SHORT), ({VARIABLE: "long"}, LONG)],
)
def test_long_counts_only_on_request(environ: dict[str, str], expected: Counts) -> None:
    assert counts_of(environ) is expected


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="longer: it is short or long"):
        counts_of({VARIABLE: "longer"})


def test_the_benchmark_asks_for_it_as_the_tests_read_it() -> None:
    assert BENCHMARK_SETS == VARIABLE


def test_a_long_count_is_no_smaller_and_no_faster_for_a_channel() -> None:
    for field in fields(Counts):
        short, long = getattr(SHORT, field.name), getattr(LONG, field.name)
        assert long <= short if field.name == "rate" else long >= short, field.name


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("paced", True, 1.2, {"count": "250 queued"}), ("paced", "250 queued", "", "0", "", "", "", "1 s")),
        (
            Row(
                "kills",
                True,
                900.4,
                {"count": "5 kills", "due": 1251, "copies at a": "2 (5)", "peak_mib": 80, "descriptors": 21},
            ),
            ("kills", "5 kills", "1,251", "0", "a 2 (5)", "80 MiB", "21", "900 s"),
        ),
        (Row("well", True, 2.0, {"due": 3}), ("well", "", "3", "0", "0", "", "", "2 s")),
        (Row("broken", False, 0.0, {}), ("broken", "", "", "broken", "", "", "", "0 s")),
    ],
)
def test_a_row_shows_what_its_test_has_recorded(row: Row, expected: tuple[str, ...]) -> None:
    assert cells(row) == expected
