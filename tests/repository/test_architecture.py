"""The architecture pages follow the code, and the folders stay small enough to be read."""

import ast
import re
from pathlib import Path

import pytest
from docs import make_architecture as architecture

PAGES = architecture.pages()
TEXTS = [page for page in PAGES if page.suffix == ".md"]
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


def exists(place: str, page: Path) -> bool:
    """Whether ``place`` is in the package, in the package of the page, in a plugin or in the tests."""
    root, package = architecture.ROOT, architecture.PACKAGE
    of_plugin = re.sub(r"^plugins/(\w+)/", r"plugins/\1/aintandem_notify_\1/", place)
    paths = [package / place, package / page.stem / place, root / place, root / "tests" / place, root / of_plugin]
    return any(path.is_dir() or path.with_suffix(".py").is_file() for path in paths)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_each_place_that_a_page_names_exists(page: Path) -> None:
    places = re.findall(r"`(\w+(?:/\w+)+)(?:\.\w+)?`", PAGES[page])
    assert [place for place in places if not exists(place, page)] == []


def members() -> set[str]:
    """``Class.member`` for all classes of the package and of its plugins."""
    sources = [*architecture.PACKAGE.rglob("*.py"), *(architecture.ROOT / "plugins").rglob("*.py")]
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = {
                    item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                names |= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)}
                names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                found |= {f"{node.name}.{name}" for name in names}
    return found


MEMBERS = members()


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_each_member_that_a_page_names_exists(page: Path) -> None:
    assert set(re.findall(r"`([A-Z]\w+\.[a-z_]\w*)`", PAGES[page])) <= MEMBERS
