"""Names and sentences stay plain: no function whose verb is a riddle, and no clause that begins with "what"."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "plugins", "benchmarks", "tests")
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts  # packages of the conformance tests
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("*/README.md")])

WHAT = re.compile(r"\bwhat\b", re.IGNORECASE)
RIDDLE = re.compile(r"_?(say|says|said|tell|tells|told|hear|hears|heard)(_|$)")
CODE = re.compile(r"```.*?```|`[^`\n]*`|\"[^\"\n]*\"|“[^”]*”", re.DOTALL)
HEADING = re.compile(r"^\|.*\|\n\|-.*$", re.MULTILINE)
"""The first line of a table; "what to do" is a fine name of a column."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """All strings that stand alone: docstrings of modules, classes and functions, and those below constants."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_clause_begins_with_what(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    texts = [*docstrings(ast.parse(source)), *comments(source)]
    assert [(line, text) for line, text in texts if WHAT.search(CODE.sub("", text))] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_clause_of_a_page_begins_with_what(path: Path) -> None:
    paragraphs = CODE.sub("", HEADING.sub("", path.read_text(encoding="utf-8"))).split("\n\n")
    assert [paragraph for paragraph in paragraphs if WHAT.search(paragraph)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_verb_of_a_function_is_a_riddle(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {
        node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, functions)
    }
    assert {name for name in names if RIDDLE.match(name)} == set()
