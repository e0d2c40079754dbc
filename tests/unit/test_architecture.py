"""The architecture pages follow the code, and the folders stay small enough to be read."""

import re
from pathlib import Path

import pytest
from docs import make_architecture as architecture

PAGES = architecture.pages()
FOLDERS = sorted(path.parent for path in architecture.PACKAGE.rglob("__init__.py"))
MAX_MODULES = 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_as_the_code(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page], "run: python docs/make_architecture.py"


def test_each_page_is_of_a_package() -> None:
    named = {path.stem for path in (architecture.DOCS / "architecture").iterdir()}
    assert named == {package.name for package in architecture.packages()}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_holds_at_most_a_dozen_modules(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) - 1 <= MAX_MODULES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_its_purpose(folder: Path) -> None:
    assert architecture.purpose(folder)


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"], ids=lambda page: page.name)
def test_each_place_that_a_page_names_exists(page: Path) -> None:
    folders = [
        architecture.PACKAGE,
        architecture.PACKAGE / page.stem,
        architecture.ROOT,
        architecture.ROOT / "tests",
    ]
    places = re.findall(r"`(\w+(?:/\w+)+)(?:\.\w+)?`", PAGES[page])
    missing = [
        place
        for place in places
        if not any((folder / place).is_dir() or (folder / f"{place}.py").is_file() for folder in folders)
    ]
    assert missing == []
