"""Scenarios as they are played: the agent's ingest on a store in memory, at the scenario's time."""

from pathlib import Path

from support.scenario_files import CONFIG, failures_rule, notified, played, steps

MINUTE, HOUR = 60, 3600
QUIET = '[config.quiet.night]\nfrom = "22:00"\nto = "07:00"\ntz = "UTC"\n'
FAIL = 'event = "task_failed"; task = "{name}"'


def fail(name: str, at: str = "+0s") -> str:
    return f'at = "{at}"; {FAIL.format(name=name)}'


def remarks(folder: Path, text: str) -> list[str]:
    return [entry.remark for entry in played(folder, text).timeline.entries]


def test_without_rules_every_end_is_told_to_all(tmp_path: Path) -> None:
    text = CONFIG + steps(fail("a", "01:00"), 'at = "+1m"; event = "task_started"; task = "a"')
    assert notified(tmp_path, text) == notified(tmp_path, text, "console.ops") == [(HOUR, 'Task "a" failed')]


def test_the_stages_have_exact_times(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('group = { by = ["project"], wait = "30s", every = "5m" }')
    text += steps(
        'at = "01:00"; event = "task_failed"; task = "t-{n}"; times = 30; every = "2s"', fail("z", "+20m")
    )
    assert notified(tmp_path, text) == [
        (HOUR + 30, "15 tasks failed in project-1"),
        (HOUR + 330, "15 tasks failed in project-1"),
        (HOUR + 58 + 20 * MINUTE + 30, 'Task "z" failed'),
    ]


def test_a_night_goes_on_until_its_end_behind_the_last_step(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('quiet = "night"') + QUIET + steps(fail("a", "22:30"), fail("b", "23:00"))
    assert notified(tmp_path, text) == [(31 * HOUR, "During quiet hours night: 2 tasks failed in project-1")]


def test_a_silence_holds_until_it_is_ended(tmp_path: Path) -> None:
    text = CONFIG + failures_rule()
    text += steps(
        'silence = { id = "deploy", task = "t-*", for = "2h" }',
        fail("t-1", "+5m"),
        fail("other"),
        'at = "+5m"; end_silence = "deploy"',
        'at = "+5m"; silence = { task = "t-*", until = "01:00" }',
        fail("t-2"),
    )
    assert notified(tmp_path, text) == [
        (5 * MINUTE, 'Task "other" failed'),
        (10 * MINUTE, 'Task "t-1" failed'),
        (HOUR, 'Task "t-2" failed'),
    ]


def test_a_reload_replaces_the_tables_that_it_names(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('group = { by = ["project"], wait = "1h" }') + steps(fail("a"))
    text += '[[steps]]\nat = "+1m"\n[[steps.reload.rules]]\n'
    text += 'name = "all"\nevents = ["*_failed"]\nnotify = ["console.ops"]\n'
    text += steps(fail("b", "+1m"))
    assert notified(tmp_path, text) == [(MINUTE, 'Task "a" failed')]
    assert notified(tmp_path, text, "console.ops") == [(2 * MINUTE, 'Task "b" failed')]


def test_a_reload_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(
        '[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "*"\n[plugins.console.new]\n', encoding="utf-8"
    )
    text = CONFIG + steps(fail("a"), 'at = "+1m"; reload = "other.toml"', fail("b"))
    assert notified(tmp_path, text) == [(0, 'Task "a" failed')]
    assert notified(tmp_path, text, "console.new") == [(MINUTE, 'Task "b" failed')]


def test_events_without_a_link_are_caught_up(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('settle = "2m"')
    text += steps(
        'event = "task_started"; task = "a"',
        'at = "+1m"; link = "down"',
        fail("a", "+1m"),
        fail("b"),
        'at = "+1m"; event = "task_started"; task = "b"',
        'at = "+1h"; link = "up"',
        fail("c", "+1m"),
    )
    course = remarks(tmp_path, text)
    assert course[2:5] == ["missed, there is no link"] * 3
    assert notified(tmp_path, text) == [
        (3 * MINUTE + HOUR, 'Task "a" failed (caught up)'),
        (6 * MINUTE + HOUR, 'Task "c" failed'),
    ]


def test_what_is_held_survives_a_restart(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('group = { by = ["project"], wait = "10m" }')
    text += steps(fail("a"), fail("b"), 'at = "+5m"; restart = "1h"', fail("c", "+30m"))
    assert notified(tmp_path, text) == [
        (HOUR + 5 * MINUTE, "2 tasks failed in project-1"),
        (HOUR + 15 * MINUTE, 'Task "c" failed (caught up)'),
    ]


def test_a_silence_may_be_added_while_the_agent_does_not_run(tmp_path: Path) -> None:
    text = CONFIG + failures_rule()
    text += steps('restart = "1h"', 'at = "+30m"; silence = { task = "*", for = "2h" }', fail("a", "+1h"))
    assert notified(tmp_path, text) == [(30 * MINUTE + 2 * HOUR, 'Task "a" failed')]


def test_the_agent_tells_of_its_own_restart_and_link(tmp_path: Path) -> None:
    rule = '[[config.rules]]\nname = "own"\nevents = ["agent/*", "connection/*"]\nnotify = ["console.team"]\n'
    text = (
        CONFIG + rule + steps('at = "+1m"; restart = "1m"', 'at = "+2m"; link = "down"', 'at = "+1m"; link = "up"')
    )
    assert notified(tmp_path, text) == [
        (MINUTE, "AInTandem Notify has stopped"),
        (2 * MINUTE, "AInTandem Notify is running"),
        (3 * MINUTE, "Connection to project project-1 lost"),
        (4 * MINUTE, "Connected to project project-1"),
        (4 * MINUTE, "Nothing was heard of project project-1 for 1 min"),
    ]


def test_the_reason_for_which_nobody_is_told(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('cooldown = "1h"')
    text += steps(fail("a"), fail("a", "+1m"), 'event = "task_completed"; task = "b"', fail("c"))
    again = "nobody is told again: the run has ended like this before, and no new attempt has begun"
    assert remarks(tmp_path, text) == ["", again, "nobody is told: no rule takes it", ""]
    [dropped] = played(tmp_path, text).timeline.untold
    assert (dropped.run_name, dropped.stage.label, dropped.reason) == ("c", "once_per", "cooldown")


def test_a_thousand_failures_of_a_week_are_a_message_a_day(tmp_path: Path) -> None:
    text = CONFIG + failures_rule('group = { by = ["project"], wait = "1m", every = "1d" }')
    text += steps('event = "task_failed"; task = "t-{n}"; times = 1000; every = "10m"')
    course = notified(tmp_path, text)
    assert [at for at, _ in course] == [MINUTE + number * 24 * HOUR for number in range(8)]
