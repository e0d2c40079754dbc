"""``check --json`` and ``plugins list --json``: one JSON document on stdout, and the exit codes of the tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aintandem_notify.cli.main import commands
from support.nasty import configs

HEAD = '[orchestrator]\nurl = "http://127.0.0.1:9"\ntoken = "canary0123 "\n[[projects]]\nid = "p"\n'
LATE = """
from contextlib import asynccontextmanager
from aintandem_notify.api import Plugin, hookimpl
class Late(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self): raise RuntimeError("no bell"); yield
"""
REPORT_KEYS = {"config", "right", "problems", "warnings", "projects", "plugins", "routes", "connect"}


def run(*arguments: str | Path, code: int) -> Any:
    """The JSON that a command prints; nothing else may be on stdout."""
    done = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    assert done.stdout.isascii()
    assert "canary0123" not in done.output
    return json.loads(done.stdout)


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_check_reports_a_right_config(tmp_path: Path) -> None:
    path = write(tmp_path, f'{HEAD}[plugins.console.me]\nevents = ["task_failed"]\n')
    report = run("check", "--json", path, code=0)
    assert report.keys() == REPORT_KEYS
    assert (report["config"], report["right"], report["problems"]) == (str(path), True, [])
    assert (report["projects"], report["plugins"], report["connect"]) == (["p"], ["console.me"], None)
    assert report["warnings"] == [
        {
            "file": str(path),
            "line": 3,
            "key": "orchestrator.token",
            "sentence": "the secret begins or ends with white space, which is left out",
        }
    ]
    assert report["routes"][0] == {
        "event": "task_failed",
        "rule": "console.me",
        "destinations": ["console.me"],
        "severity": "error",
        "projects": None,
        "when": None,
    }


def test_check_reports_every_problem_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, f'{HEAD}[connection]\nproxy = "x\\ny"\n[[rules]]\nname = "a"\n')
    report = run("check", "--json", path, code=2)
    assert report.keys() == REPORT_KEYS
    assert (report["right"], report["routes"], report["connect"]) == (False, [], None)
    assert {(problem["file"], problem["line"], problem["key"]) for problem in report["problems"]} == {
        (str(path), 7, "connection.proxy"),
        (str(path), 8, "rules[0].events"),
        (str(path), 8, "rules[0].notify"),
    }
    assert "is missing" in [problem["sentence"] for problem in report["problems"]]


def test_check_reports_a_config_that_is_not_there(tmp_path: Path) -> None:
    report = run("check", "--json", tmp_path / "none.toml", code=2)
    (problem,) = report["problems"]
    assert problem["file"] == str(tmp_path / "none.toml")
    assert (problem["line"], problem["key"]) == (None, "")


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_check_reports_every_nasty_config_as_json(tmp_path: Path, name: str) -> None:
    case = configs.CONFIGS[name]
    for file, content in (case.files or {}).items():
        (tmp_path / file).write_bytes(content)
    path = tmp_path / "config.toml"
    path.write_bytes(case.content)
    report = run("check", "--json", path, code=0 if case.right else 2)
    assert report["right"] is case.right
    assert bool(report["problems"]) is not case.right


def test_check_reports_the_results_of_connect(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}[plugins.console.me]\n")
    report = run("check", "--json", "--connect", path, code=1)
    by_name = {result["name"]: result for result in report["connect"]}
    assert by_name["orchestrator"]["ok"] is False
    assert "127.0.0.1:9" in by_name["orchestrator"]["detail"]
    assert by_name["console.me"]["ok"] is True


def test_plugins_are_listed_as_json(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n", encoding="utf-8")
    listed = {
        entry["name"]: entry
        for entry in run("plugins", "list", "--json", "--plugins-dir", tmp_path, code=0)["plugins"]
    }
    assert listed["console"] == {"name": "console", "from": "built in", "hooks": ["deliver"], "problem": None}
    assert listed["broken"]["hooks"] == []
    assert "broken.py:1: ModuleNotFoundError" in listed["broken"]["problem"]


def test_instances_are_listed_as_json(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "late.py").write_text(LATE, encoding="utf-8")
    path = write(tmp_path, f"{HEAD}[plugins.console.me]\n[plugins.late.x]\n")
    report = run("plugins", "list", "--json", path, code=1)
    good, bad = report["instances"]
    assert good == {"name": "console.me", "state": "loaded", "destination": True, "reason": None}
    assert (bad["name"], bad["state"]) == ("late.x", "retrying")
    assert "late.py:7: RuntimeError: no bell" in bad["reason"]
    assert run("plugins", "list", "--json", write(tmp_path, HEAD), code=0)["instances"] == []
