"""Commands about deliveries and destinations where no agent runs, as a user types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aintandem_notify.cli.main import commands
from aintandem_notify.store import open_storage
from support.outbox import event, queue_up

CONFIG = """
[orchestrator]
url = "http://localhost:9900"
token = "t"
[[projects]]
id = "p"
[plugins.file_log.a]
path = "log.jsonl"
[store]
url = "sqlite:///store.db"
"""


@pytest.fixture
async def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    async with open_storage(tmp_path / "store.db") as storage:
        await storage.run(queue_up([event("task_failed", "t1", task="Train"), event("task_failed", "t2")]))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", [("list",), ("retry", "--yes"), ("drop", "--yes"), ("list", "--json")])
async def test_an_unknown_destination_is_an_error(config: Path, command: tuple[str, ...]) -> None:
    done = run("deliveries", *command, config, "--destination", "nope")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "aintandem-notify: there is no destination nope; there are: file_log.a\n"


async def test_deliveries_of_one_task_are_listed_and_dropped(config: Path) -> None:
    listed = run("deliveries", "list", config, "--task", "Train", "--json")
    assert [entry["id"] for entry in json.loads(listed.stdout)["deliveries"]] == [1]
    dropped = run("deliveries", "drop", config, "--task", "T*", "--project", "p", "--yes")
    assert (dropped.exit_code, dropped.stdout) == (0, "1 delivery dropped: 1\n")
    none = run("deliveries", "list", config, "--project", "another")
    assert (none.exit_code, none.stderr) == (0, "no such deliveries\n")


@pytest.mark.parametrize("option", ["--destination", "--project", "--task"])
async def test_an_empty_name_does_not_mean_all(config: Path, option: str) -> None:
    done = run("deliveries", "drop", config, f"{option}=", "--yes")
    assert done.exit_code == 2
    assert "leave the option out to mean all" in done.stderr


async def test_destinations_are_listed_as_a_table_and_as_json(config: Path) -> None:
    header, row = run("destinations", "list", config).stdout.splitlines()
    assert header.split() == ["destination", "state", "since", "queued", "oldest", "next", "try", "last", "error"]
    assert row.split()[:4] == ["file_log.a", "-", "-", "2"]
    run("destinations", "pause", config, "file_log.a")
    (entry,) = json.loads(run("destinations", "list", config, "--json").stdout)["destinations"]
    assert entry.keys() >= {"name", "state", "since", "queued", "oldest", "last_error", "retry_at"}
    assert (entry["name"], entry["state"], entry["queued"]) == ("file_log.a", "paused", 2)
    assert entry["since"] is not None
