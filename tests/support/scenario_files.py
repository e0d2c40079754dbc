"""Scenario files for tests: their text, read and played."""

from pathlib import Path

import pytest

from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins import Catalog
from aintandem_notify.scenarios import PlayedScenario, run_file
from aintandem_notify.scenarios.reading.files import read_scenario
from aintandem_notify.scenarios.scenario import Scenario

CONFIG = """
[config.plugins.console.team]
[config.plugins.console.ops]
"""
"""Two destinations, and no rule: every end is told to both."""


def failures_rule(more: str = "", to: str = "console.team") -> str:
    """A rule that tells failures; ``more`` are further keys, a line each."""
    return f"""
[[config.rules]]
name = "failures"
events = ["*_failed"]
notify = ["{to}"]
{more}
"""


def steps(*texts: str) -> str:
    """A step for each text, which has its keys with semicolons between."""
    return "".join("[[steps]]\n" + "\n".join(part.strip() for part in text.split(";")) + "\n" for text in texts)


def read(folder: Path, text: str) -> Scenario:
    """The scenario in this text."""
    return read_scenario(_write(folder, text), Catalog())


def problems(folder: Path, text: str) -> list[str]:
    """The problems of the file as lines, without the folder."""
    with pytest.raises(ConfigError) as raised:
        read(folder, text)
    return [line.removeprefix(f"{folder}/") for line in str(raised.value).split("\n")]


def played(folder: Path, text: str) -> PlayedScenario:
    """The scenario in this text after it was played."""
    result = run_file(_write(folder, text), Catalog())
    assert result.played is not None, result.error
    return result.played


def notified(folder: Path, text: str, to: str = "console.team") -> list[tuple[int, str]]:
    """The notifications of the destination: seconds after the start, and the title."""
    course = played(folder, text)
    return [
        (round((item.at - course.scenario.start).total_seconds()), item.notification.title)
        for item in course.timeline.notified
        if item.destination == to
    ]


def _write(folder: Path, text: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return path
