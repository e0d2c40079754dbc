"""``rules test`` as a user types it."""

import json
from pathlib import Path

from support.commands import run_command
from support.scenario_files import CONFIG, failures_rule, steps

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
FAIL = 'event = "task_failed"; task = "a"'
RIGHT = CONFIG + failures_rule() + steps(FAIL, 'expect = { title = "failed" }')


def write(folder: Path, **texts: str) -> None:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_folder_means_all_its_scenarios(tmp_path: Path) -> None:
    write(tmp_path / "rules", one=RIGHT, two=RIGHT)
    done = await run_command("rules", "test", "rules", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out == "ok      rules/one.toml: one\nok      rules/two.toml: two\n2 scenarios, all as expected\n"
    assert names_in(tmp_path) == ["rules"], "nothing is stored"


async def test_a_difference_and_a_wrong_file_have_codes_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "rules", one=RIGHT, two=CONFIG + failures_rule() + steps(FAIL))
    done = await run_command("rules", "test", "rules", cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    assert 'rules/two.toml:10: Mon 00:00:00: console.team was told “Task "a" failed”, which is not' in done.out
    (tmp_path / "rules" / "three.toml").write_text("nam = 1\n", encoding="utf-8")
    done = await run_command("rules", "test", "--json", "rules/three.toml", "rules/one.toml", cwd=tmp_path)
    assert (done.code, done.err) == (2, "")
    assert [item["ok"] for item in json.loads(done.out)["scenarios"]] == [False, True]
    (tmp_path / "rules" / "three.toml").write_text("no TOML\n", encoding="utf-8")
    done = await run_command("rules", "test", "rules/three.toml", cwd=tmp_path)
    assert (done.code, done.err) == (2, "")
    assert "rules/three.toml:1: not TOML: " in done.out


async def test_a_folder_without_scenarios_and_no_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for name in ("rules", "nowhere.toml"):
        done = await run_command("rules", "test", name, cwd=tmp_path)
        assert done.code == 2
        assert name in done.err


async def test_a_rule_that_raises_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "rules", one=CONFIG + failures_rule('when = "event.error + 1"') + steps(FAIL, "expect = {}"))
    done = await run_command("rules", "test", "rules", cwd=tmp_path)
    assert done.code == 0
    assert "a rule raised an exception" in done.err


async def test_the_recipes_are_played_by_the_command(tmp_path: Path) -> None:
    done = await run_command("rules", "test", RECIPES, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(" scenarios, all as expected\n")
