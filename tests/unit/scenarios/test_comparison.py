"""The differences between the notifications of a scenario and the expected ones, as sentences."""

import json
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from aintandem_notify.scenarios.comparison import Failure
from support.scenario_files import CONFIG, failures_rule, played, steps

QUIET = '[config.quiet.night]\nfrom = "22:00"\nto = "07:00"\ntz = "UTC"\n'
TWO = failures_rule() + steps('at = "22:05"; event = "task_failed"; task = "t-{n}"; error = "e{n}"; times = 2')
EXPECTED = [
    '[{ title = "failed", count = 2 }]',
    '[{ title = "t-1" }, { title = "t-2" }]',
    '[{ title = "failed" }, { title = "t-1" }]',
    '[{ to = "console.team" }, { text = "e1" }]',
    '[{ to = "console.team", event = "task_failed", rule = "failures", severity = "error", count = 2 }]',
    '[{ count = 2 }, { title = "t-3", count = 0 }]',
]


def failures(folder: Path, text: str) -> list[Failure]:
    return list(played(folder, CONFIG + text).failures)


def sentences(folder: Path, text: str) -> list[str]:
    return [failure.sentence for failure in failures(folder, text)]


def at_any_time(expected: str) -> str:
    """The same expectations as ``[[expect]]`` tables."""
    tables = tomllib.loads(f"x = {expected}")["x"]
    lines = [["[[expect]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())] for table in tables]
    return "".join(f"{line}\n" for table in lines for line in table)


@pytest.mark.parametrize("expected", EXPECTED)
def test_any_assignment_to_the_expectations_will_do(expected: str, tmp_path: Path) -> None:
    assert sentences(tmp_path, TWO + steps(f"expect = {expected}")) == []
    assert sentences(tmp_path, TWO + at_any_time(expected)) == []


def test_an_expectation_is_about_the_steps_above_it(tmp_path: Path) -> None:
    fail = 'event = "task_failed"; task = "{}"'
    text = failures_rule() + steps(
        'event = "task_started"; task = "a"',
        'expect = "nothing"',
        fail.format("a"),
        'expect = { title = "failed" }',
        fail.format("b"),
        'event = "task_started"; task = "a"',
        'expect = { title = "failed" }',
        'event = "task_started"; task = "b"',
        'expect = "nothing"',
    )
    assert sentences(tmp_path, text) == []
    swapped = failures_rule() + steps('expect = { title = "failed" }', fail.format("a"))
    assert [(failure.line, failure.sentence) for failure in failures(tmp_path, swapped)] == [
        (11, 'somebody should be told “failed”, but console.team was told “Task "a" failed” by a step below')
    ]


def test_expectations_that_follow_one_another_are_about_the_same_steps(tmp_path: Path) -> None:
    assert sentences(tmp_path, TWO + steps('expect = { title = "t-2" }', 'expect = { title = "t-1" }')) == []


def test_all_that_is_not_expected_is_a_difference(tmp_path: Path) -> None:
    found = failures(tmp_path, TWO + steps('expect = { title = "t-1" }'))
    assert [failure.sentence for failure in found] == [
        'console.team was told “Task "t-2" failed”, which is not expected'
    ]
    assert [failure.line for failure in found] == [10]


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (
            '{ title = "t-3", count = 1 }',
            'somebody should be told “t-3”, but console.team was told “Task "t-1" failed”',
        ),
        (
            '{ to = "console.team", title = "t-1", text = "e2", severity = "critical" }',
            (
                "console.team should be told “t-1” with text “e2”, severity critical, "
                'but console.team was told “Task "t-1" failed”'
            ),
        ),
        (
            '{ to = "console.ops", mention = "U1" }',
            "console.ops should be told something with mention U1, but nothing was told",
        ),
        (
            '{ title = "failed", count = 3 }',
            "somebody should be told “failed” 3 times, but was told it 2 times only",
        ),
    ],
)
def test_an_expectation_that_is_not_met(expected: str, sentence: str, tmp_path: Path) -> None:
    assert sentences(tmp_path, TWO + steps(f"expect = {expected}"))[0] == sentence


def test_another_time_is_named(tmp_path: Path) -> None:
    found = failures(tmp_path, TWO + steps('at = "+30s"; expect = { title = "failed", count = 2 }'))
    assert [failure.sentence for failure in found] == [
        'somebody should be told “failed” 2 times, but console.team was told “Task "t-1" failed” at Mon 22:05:00',
        'console.team was told “Task "t-2" failed”, which is not expected',
    ][::-1]
    assert found[1].at is not None
    assert found[0].at == found[1].at - timedelta(seconds=30)


def test_the_stage_that_holds_it_is_named(tmp_path: Path) -> None:
    night = failures_rule('quiet = "night"') + QUIET
    text = night + steps(
        'at = "22:05"; event = "task_failed"; task = "x-{n}"; times = 2', 'expect = { title = "x-1" }'
    )
    assert sentences(tmp_path, text) == [
        "somebody should be told “x-1”, but nothing was told: 1 held by quiet night until Tue 07:00:00",
        "console.team was told “During quiet hours night: 2 tasks failed in project-1”, which is not expected",
    ]


def test_the_stage_that_dropped_it_is_named(tmp_path: Path) -> None:
    text = failures_rule('once_per = "x"') + steps(
        'event = "task_failed"; task = "t-{n}"; times = 3', 'expect = { title = "t-1" }', 'at = "+1m"; expect = {}'
    )
    assert sentences(tmp_path, text) == [
        "somebody should be told something, but nothing was told: 2 dropped by once_per: the same value was told"
    ]


def test_a_notification_that_should_not_be(tmp_path: Path) -> None:
    one = failures_rule() + steps('at = "22:05"; event = "task_failed"; task = "t"')
    assert sentences(tmp_path, one + steps('expect = "nothing"')) == [
        'nobody should be told anything, but console.team was told “Task "t" failed”'
    ]
    assert sentences(tmp_path, one + steps('expect = { to = "console.team", title = "Task", count = 0 }')) == [
        'console.team should not be told “Task”, but console.team was told “Task "t" failed”'
    ]
