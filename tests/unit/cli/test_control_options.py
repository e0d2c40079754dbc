"""Telling the config from the names in a command's arguments, and the states that a filter takes."""

from pathlib import Path

import click
import pytest

from aintandem_notify.cli.control_commands.deliveries import DROPPED, RETRIED, STATES
from aintandem_notify.cli.control_options import config_and_name, config_and_names
from aintandem_notify.control.deliveries import ELIGIBLE_STATES, AdminAction
from aintandem_notify.store import DeliveryState


@pytest.mark.parametrize(
    ("arguments", "config", "names"),
    [
        ("", "config.toml", ""),
        ("webhook.ops", "config.toml", "webhook.ops"),
        ("a1.toml", "a1.toml", ""),
        ("a1.toml webhook.ops slack.team", "a1.toml", "webhook.ops slack.team"),
        ("webhook.ops pg/a1.toml", "pg/a1.toml", "webhook.ops"),
        ("webhook.ops pg/a1.toml slack.team", "pg/a1.toml", "webhook.ops slack.team"),
        ("webhook.ops agent.conf", "agent.conf", "webhook.ops"),
        ("webhook.ops missing.conf", "config.toml", "webhook.ops missing.conf"),
        ("a1.toml slack.toml", "a1.toml", "slack.toml"),
        ("a1.toml a1.toml", "a1.toml", "a1.toml"),
        ("a1.toml folder", "a1.toml", "folder"),
        ("x" * 5000, "config.toml", "x" * 5000),
    ],
)
def test_the_config_is_the_first_that_is_one_wherever_it_stands(
    arguments: str, config: str, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agent.conf").touch()
    (tmp_path / "folder").mkdir()
    assert config_and_names(arguments.split(), "") == (Path(config), tuple(names.split()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [("", "Missing argument 'NAME'"), ("a.toml", "Missing argument 'NAME'"), ("x a.toml y", "One NAME at a time")],
)
def test_one_name_is_neither_none_nor_two(arguments: str, sentence: str) -> None:
    with pytest.raises(click.UsageError, match=sentence):
        config_and_name(arguments.split(), "NAME")


def test_the_options_take_the_states_that_there_are() -> None:
    assert set(STATES) == set(DeliveryState)
    assert set(RETRIED) == ELIGIBLE_STATES[AdminAction.RETRY]
    assert set(DROPPED) == ELIGIBLE_STATES[AdminAction.DROP]
