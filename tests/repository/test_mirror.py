"""The tests of a module are found where the module is: the folders of tests mirror those of the package."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PACKAGE = ROOT / "core" / "aintandem_notify"
MIRRORS = [
    path.relative_to(TESTS)
    for suite in ("unit", "contract")
    for path in sorted((TESTS / suite).rglob("test_*.py"))
]
FILES = [path.relative_to(TESTS) for path in sorted(TESTS.rglob("*.py")) if "node_modules" not in path.parts]
MAX_LINES = 500


@pytest.mark.parametrize("path", MIRRORS, ids=str)
def test_a_test_is_named_after_a_module_of_its_package(path: Path) -> None:
    package = PACKAGE.joinpath(*path.parent.parts[1:])
    modules = {entry.stem for entry in package.iterdir() if entry.suffix == ".py" or entry.is_dir()}
    subject = path.stem.removeprefix("test_")
    assert any(subject == module or subject.startswith(f"{module}_") for module in modules), package


def test_each_folder_of_plugin_tests_is_of_a_built_in_plugin() -> None:
    folders = {path.parent.name for path in (TESTS / "plugins").glob("*/*.py")}
    assert folders <= {path.name for path in (ROOT / "plugins").iterdir()}


def test_no_file_of_tests_is_long() -> None:
    lines = {path.as_posix(): len((TESTS / path).read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name for name, count in lines.items() if count > MAX_LINES} == set()
