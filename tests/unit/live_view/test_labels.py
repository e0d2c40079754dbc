"""Labels of runs for ``tail``: short, and different for each run under way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from aintandem_notify.live_view.labels import LABEL_COLUMNS, MAX_LABEL, shorten_label, unique_label

LONG = "Import all customers of the northern region"


def labels(*runs: tuple[str, str]) -> list[str]:
    """The labels of runs of these names and ids, all under way."""
    taken: list[str] = []
    for name, run_id in runs:
        taken.append(unique_label(name, run_id, {shorten_label(label) for label in taken}.__contains__))
    return taken


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Analyse", "Analyse"),
        ("Analyse all of the sales figures", "Analyse all of the sale…"),
        ("Analyse all of the sales figures …0002", "Analyse all of the …0002"),
        ("Analyse all of the sales figures … and even more of them", "Analyse all of the sale…"),
        ("分析所有的销售数据并写一份报告 …0002", "分析所有的销售数据 …0002"),
    ],
)
def test_a_short_label_keeps_the_end_of_the_id(label: str, expected: str) -> None:
    assert shorten_label(label) == expected


@pytest.mark.parametrize(
    ("runs", "short"),
    [
        ([("A", "task-0001"), ("A", "task-0002")], ["A", "A …0002"]),
        (
            [(LONG, "task-0001"), (f"{LONG} again", "task-0002")],
            ["Import all customers of…", "Import all custome …0002"],
        ),
        (
            [(f"{LONG}, 1 of 2", "x-0001"), (f"{LONG}, 2 of 2", "x-0002")],
            ["Import all customers of…", "Import all custome …0002"],
        ),
        (
            [("nightly-import-2026-11-30-0001",) * 2, ("nightly-import-2026-11-30-0002",) * 2],
            ["nightly-import-2026-11-…", "nightly-import-202 …0002"],
        ),
        ([("A", "1-x-0001"), ("A", "2-x-0001"), ("A", "3-x-0001")], ["A", "A …0001", "A …3-x-0001"]),
        (
            [("A", "one-" + "0" * 20), ("A", "two-" + "0" * 20), ("A", "six-" + "0" * 20)],
            ["A", "A …0000", "A …00000000"],
        ),
        ([("A", "")] * 3, ["A", "A …", "A …#2"]),
        (
            [("分析所有的销售数据并写报告一", "1"), ("分析所有的销售数据并写报告二", "2")],
            ["分析所有的销售数据并写…", "分析所有的销售数据并 …2"],
        ),
    ],
)
def test_runs_that_would_look_the_same_are_told_apart(runs: list[tuple[str, str]], short: list[str]) -> None:
    assert [shorten_label(label) for label in labels(*runs)] == short


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", LONG, f"{LONG} 2", "x" * MAX_LABEL, "分" * 40, "A …0001"]),
            st.text("01ab", max_size=20),
        ),
        max_size=30,
    )
)
def test_no_two_look_the_same(runs: list[tuple[str, str]]) -> None:
    made = labels(*runs)
    short = [shorten_label(label) for label in made]
    assert len(set(short)) == len(runs)
    assert all(cell_len(label) <= LABEL_COLUMNS for label in short)
    assert all(len(label) <= MAX_LABEL for label in made)
