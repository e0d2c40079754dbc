"""docs/scenarios.md agrees with the command and with the tables of a scenario file."""

import re
from pathlib import Path

import pytest

from aintandem_notify.cli.scenario_report import result_lines, summary
from aintandem_notify.plugins import Catalog
from aintandem_notify.scenarios import run_file
from aintandem_notify.scenarios.reading.tables import STEPS, ExpectationTable, FileTable

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLE, EVENT = (text for kind, text in BLOCKS if kind == "toml")
SHOWN, DIFFERENCE = (text for kind, text in BLOCKS if not kind)
ADDED = """[[steps]]
expect = { to = "slack.team", title = '"train-1" failed' }

[[steps]]
at = "07:00"
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def output(text: str, *, with_course: bool) -> list[str]:
    path = Path("night.toml")
    path.write_text(text, encoding="utf-8")
    result = run_file(path, Catalog())
    return [*result_lines(result, with_course=with_course), summary([result])]


def keys(section: str) -> set[str]:
    """The keys in the table of a section."""
    part = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in part.splitlines() if line.startswith("| `")]
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_the_example_is_played_as_the_page_shows() -> None:
    command, *lines = SHOWN.splitlines()
    assert command == "$ aintandem-notify rules test --show night.toml"
    assert output(EXAMPLE, with_course=True) == lines


def test_the_difference_is_that_of_the_page() -> None:
    added = EXAMPLE.replace('[[steps]]\nat = "07:00"\n', ADDED)
    assert output(added, with_course=False)[:-1] == DIFFERENCE.splitlines()


def test_the_event_of_the_page_is_one() -> None:
    projects = '[config]\nprojects = [{ id = "sales" }]\n'
    first, *_ = output(projects + EVENT, with_course=False)
    assert first == "ok      night.toml: night"


def test_the_page_has_every_key() -> None:
    assert keys("The file") == set(FileTable.model_fields)
    assert keys("Steps") == set(STEPS)
    assert keys("Expectations") == set(ExpectationTable.model_fields)
