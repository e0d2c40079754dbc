"""The output of ``rules test``, for people and as JSON."""

import json
from pathlib import Path

from aintandem_notify.cli.scenario_report import report_json, result_lines, summary
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.scenarios import ScenarioResult
from support.scenario_files import CONFIG, failures_rule, played, steps

PATH = Path("scenario.toml")
NIGHT = '[config.quiet.night]\nfrom = "22:00"\nto = "07:00"\ntz = "Europe/Berlin"\n'
TEXT = (
    'name = "in the morning"\n'
    + CONFIG
    + failures_rule('quiet = "night"')
    + NIGHT
    + steps(
        'at = "22:05"; event = "task_failed"; task = "t-{n}"; times = 12; every = "1s"',
        'event = "task_completed"; task = "x"',
        'at = "07:00"; expect = { title = "12 tasks failed" }',
    )
)


def result(folder: Path, text: str) -> ScenarioResult:
    return ScenarioResult(PATH, played(folder, text))


def test_a_scenario_that_goes_as_expected_is_one_line(tmp_path: Path) -> None:
    right = result(tmp_path, TEXT)
    assert list(result_lines(right, with_course=False)) == ["ok      scenario.toml: in the morning"]
    assert summary([right]) == "1 scenario, all as expected"
    assert summary([right, right]) == "2 scenarios, all as expected"


def test_the_course_shows_steps_holds_and_texts(tmp_path: Path) -> None:
    _, *lines = result_lines(result(tmp_path, TEXT), with_course=True)
    assert lines == [
        "  times are those of Europe/Berlin",
        "  Mon 22:05:00  task_failed t-1 in project-1  (line 15)",
        "                   console.team: held by quiet night until Tue 07:00:00",
        "      … and 10 like it",
        "  Mon 22:05:11  task_failed t-12 in project-1  (line 15)",
        "                   console.team: held by quiet night until Tue 07:00:00",
        "  Mon 22:05:11  task_completed x in project-1  (line 21)",
        "                   nobody is told: no rule takes it",
        (
            "  Tue 07:00:00  -> console.team: During quiet hours night: 12 tasks failed in project-1"
            "  (error, rule failures)"
        ),
        "                   | None of the 12 failed runs has succeeded since.",
        *(f'                   | • Task "t-{number}" failed' for number in range(1, 6)),
        "                   | …",
        *(f'                   | • Task "t-{number}" failed' for number in (11, 12)),
    ]


def test_a_difference_has_file_line_and_time(tmp_path: Path) -> None:
    wrong = result(tmp_path, TEXT.replace("12 tasks", "13 tasks"))
    head, line = result_lines(wrong, with_course=False)
    assert head == "FAILED  scenario.toml: in the morning"
    assert line == (
        f"  {tmp_path}/scenario.toml:26: Tue 07:00:00: somebody should be told “13 tasks failed”, "
        "but console.team was told “During quiet hours night: 12 tasks failed in project-1”"
    )
    assert summary([wrong, wrong]) == "2 scenarios, 2 not as expected"


def test_of_many_differences_only_some_are_shown(tmp_path: Path) -> None:
    many = CONFIG + failures_rule() + steps('event = "task_failed"; task = "t-{n}"; times = 22')
    lines = list(result_lines(result(tmp_path, many), with_course=False))
    assert len(lines) == 22
    assert lines[-1] == "  … and 2 more differences"


def test_a_wrong_file_is_its_problems() -> None:
    error = ConfigError([Problem("is missing", "config"), Problem("unknown key", "nam", 3)], "scenario.toml")
    lines = list(result_lines(ScenarioResult(PATH, error=error), with_course=True))
    assert lines == [
        "WRONG   scenario.toml",
        "  scenario.toml: config: is missing",
        "  scenario.toml:3: nam: unknown key",
    ]


def test_the_same_as_json(tmp_path: Path) -> None:
    error = ConfigError([Problem("unknown key", "nam", 3)], "config.toml")
    right, wrong = json.loads(report_json([result(tmp_path, TEXT), ScenarioResult(PATH, error=error)]))[
        "scenarios"
    ]
    assert (right["ok"], right["name"], right["failures"], right["problems"], right["untold"]) == (
        True,
        "in the morning",
        [],
        [],
        [],
    )
    [told] = right["told"]
    assert (told["at"], told["to"], told["rule"]) == ("2026-01-06T06:00:00+00:00", "console.team", "failures")
    assert (wrong["ok"], wrong["file"], wrong["told"]) == (False, "scenario.toml", [])
    assert wrong["problems"] == [{"file": "config.toml", "line": 3, "key": "nam", "sentence": "unknown key"}]
