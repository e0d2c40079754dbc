"""Whole scenario files: their times and configs, and every mistake with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aintandem_notify.scenarios.scenario import Happening
from support.scenario_files import CONFIG, failures_rule, problems, read, steps

QUIET = '[config.quiet.night]\nfrom = "22:00"\nto = "07:00"\ntz = "Europe/Berlin"\n'


def test_times_follow_one_another_from_monday_on(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        CONFIG
        + steps(
            'at = "22:05"; event = "task_started"; task = "a"',
            'event = "task_failed"; task = "a"; times = 2; every = "10s"',
            'at = "+5m"; expect = { title = "failed" }',
            'at = "07:00"; expect = "nothing"',
        ),
    )
    assert scenario.start == datetime(2026, 1, 5, tzinfo=UTC)
    assert [f"{step.at:%d %H:%M:%S}" for step in scenario.steps] == ["05 22:05:00", "05 22:05:00", "05 22:05:10"]
    assert [(f"{item.at:%d %H:%M:%S}", item.count) for item in scenario.expectations] == [
        ("05 22:10:10", 1),
        ("06 07:00:00", 0),
    ]
    assert [step.line for step in scenario.steps] == [4, 8, 8]
    assert [item.line for item in scenario.expectations] == [15, 18]


def test_the_zone_is_that_of_the_quiet_hours(tmp_path: Path) -> None:
    more = failures_rule('quiet = "night"') + QUIET
    assert read(tmp_path, CONFIG + more).zone.key == "Europe/Berlin"
    assert read(tmp_path, 'tz = "Asia/Tokyo"\n' + CONFIG + more).zone.key == "Asia/Tokyo"
    scenario = read(tmp_path, 'start = "2026-07-01 12:00"\n' + CONFIG + more)
    assert scenario.start == datetime(2026, 7, 1, 10, tzinfo=UTC)


def test_a_file_without_a_name_has_that_of_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, CONFIG).name == "scenario"
    assert read(tmp_path, 'name = "only failures"\n' + CONFIG).name == "only failures"


def test_a_config_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[orchestrator]\nurl = "http://localhost:9900"\nusername = "admin"\npassword = { env = "NOT_SET" }\n'
        '[[projects]]\nid = "sales"\nname = "Sales"\n[[projects]]\nid = "dev-*"\n'
        '[plugins.webhook.ops]\nurl = { env = "NOT_SET" }\nsecret = { file = "none" }\n',
        encoding="utf-8",
    )
    scenario = read(
        tmp_path,
        'config = "config.toml"\n'
        + steps(
            'event = "task_failed"; task = "a"',
            'event = "task_failed"; task = "a"; project = "Sales"',
            'event = "task_failed"; task = "a"; project = "dev-1"',
            'event = "login_failed"',
        ),
    )
    assert list(scenario.config.instances) == ["webhook.ops"]
    projects = [step.project for step in scenario.steps if isinstance(step, Happening)]
    assert [project and (project.id, project.name) for project in projects] == [
        ("sales", "Sales"),
        ("sales", "Sales"),
        ("dev-1", "dev-1"),
        None,
    ]


def test_the_mistakes_of_another_file_have_its_lines(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[orchestrator]\nurl = "simulator"\n[agent]\nnam = "x"\n', encoding="utf-8"
    )
    assert problems(tmp_path, 'config = "config.toml"\n') == [
        'config.toml: no project to watch; add [[projects]] with id = "project-123", or id = "*" for all',
        "config.toml:4: agent.nam: unknown key; did you mean name?",
    ]


def test_a_file_without_a_config(tmp_path: Path) -> None:
    assert problems(tmp_path, steps('event = "task_failed"; task = "a"')) == [
        "scenario.toml: config: is missing",
    ]
    assert problems(tmp_path, "config = 'nowhere.toml'") == [
        f"scenario.toml:1: config: there is no file {tmp_path}/nowhere.toml"
    ]
    assert problems(tmp_path, "config = ") == ["scenario.toml:1: not TOML: Invalid value; put a text in quotes"]


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (
            'evnt = "task_failed"',
            (
                "steps[0]: should have one of event, silence, end_silence, reload, restart, link, expect; "
                "did you mean event?"
            ),
        ),
        ('event = "task_failed"; restart = "1m"', "steps[0]: has event and restart; a step has one of them"),
        (
            'at = "25:00"; restart = "1m"',
            'steps[0].at: should be a time, as "22:05", "sat 22:05", "+5m" or "2026-03-02 22:05"',
        ),
        ('restart = "1 m"', 'steps[0].restart: not a duration; write it as "500ms", "10s", "15m", "2h" or "1d"'),
        ('event = "task_failed"; task = "a"; projekt = "b"', "steps[0].projekt: unknown key of task_failed"),
        ('event = "task_failed"; task = "a"; times = 0', "steps[0].times: should be at least 1"),
        ('link = "dwn"', "steps[0].link: should be down or up; did you mean down?"),
        (
            'silence = { for = "2h" }',
            "steps[0].silence: should have one of project, task, workflow, sandbox, rule, destination, type",
        ),
        ('silence = { task = "a" }', 'steps[0].silence: should have for = "2h", or until = "22:00"'),
        (
            'silence = { task = "a", until = "x" }',
            'steps[0].silence.until: should be a time, as "22:05", "sat 22:05", "+5m" or "2026-03-02 22:05"',
        ),
        ('silence = { tsk = "a", for = "2h" }', "steps[0].silence.tsk: unknown key; did you mean task?"),
        ('end_silence = "x"', "steps[0].end_silence: no step above adds a silence x"),
        ('reload = "nowhere.toml"', "steps[0].reload: there is no file {folder}/nowhere.toml"),
        (
            'reload = { rules = [{ name = "x", events = ["y"], notify = [] }] }',
            "steps[0].reload.rules[0].events[0]: no event type called y",
        ),
        (
            'expect = { to = "console.tem" }',
            "steps[0].expect.to: no destination called console.tem; did you mean console.team?",
        ),
        ('expect = [{ titel = "x" }]', "steps[0].expect[0].titel: unknown key; did you mean title?"),
        (
            'expect = "nothin"',
            (
                'steps[0].expect: should be a notification, as { to = "slack.team", title = "…" }, '
                'a list of them, or "nothing"'
            ),
        ),
    ],
)
def test_a_wrong_step_is_a_sentence_with_its_line(step: str, problem: str, tmp_path: Path) -> None:
    line, *more = problems(tmp_path, CONFIG + steps(step))
    assert more == [] or "reload" in step
    assert line.partition(": ")[2] == problem.replace("{folder}", str(tmp_path))
    assert line.startswith("scenario.toml:")


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = 'tz = "Mars"\n' + CONFIG
    assert problems(tmp_path, text) == [
        'scenario.toml:1: tz: should be the name of a time zone, as "Europe/Berlin" or "UTC"'
    ]
    more = 'nam = "x"\nsteps = 5\n' + CONFIG + failures_rule("setle = '2m'")
    assert [line.partition(": ")[0] for line in problems(tmp_path, more)] == [
        "scenario.toml:1",
        "scenario.toml:2",
        "scenario.toml:11",
    ]
    more = steps('event = "task_faild"; task = "a"', 'link = "x"') + "[[expect]]\ncount = -1\n"
    assert [line.partition(": ")[0] for line in problems(tmp_path, CONFIG + more)] == [
        "scenario.toml:5",
        "scenario.toml:8",
        "scenario.toml:10",
    ]


def test_the_mistakes_of_its_own_config_have_their_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, CONFIG + failures_rule("setle = '2m'")) == [
        "scenario.toml:9: config.rules[0].setle: unknown key; did you mean settle?"
    ]


def test_steps_that_need_the_agent_are_refused_while_it_does_not_run(tmp_path: Path) -> None:
    text = CONFIG + steps(
        'restart = "10m"', 'at = "+5m"; link = "down"', 'event = "login_failed"', 'restart = "0s"'
    )
    assert problems(tmp_path, text) == [
        "scenario.toml:6: steps[1]: is at a time at which the agent does not run",
        "scenario.toml:10: steps[2].event: is at a time at which the agent does not run",
        "scenario.toml:11: steps[3]: is at a time at which the agent does not run",
    ]


def test_a_project_that_is_not_watched(tmp_path: Path) -> None:
    text = (
        '[config]\nprojects = [{ id = "sales" }]\n'
        + CONFIG
        + steps('event = "task_failed"; task = "a"; project = "x"')
    )
    assert problems(tmp_path, text) == ["scenario.toml:9: steps[0].project: the config watches no project x"]
