"""The lines of keys, in every form that TOML allows."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config.findings import Place, dotted
from aintandem_notify.config.line_numbers import LineNumbers

TEXT = """\
plugins_dir = "x"  # a = 1

[orchestrator]  # [orchestrator]
url = "a" # url = "b"
"pass\\u0077ord".env = "X"
'tok en' = "t"
[[rules]]
name = "a"
events = [
  "b", # "x",
  # "c",
  "d", [
    "e"], { f = [
      "g"] },
]
[rules.sub]
deep.er = 1
[[rules]]
name = "b"
inline = { a = 1, "b c".d = { e = [1,
 2] } }
[[rules.parts]]
k = 1
[[rules.parts]]
k = 2
[rules.parts.more]
k = 3
[plugins.slack."te.am"]
q = '''
events = 1
'''
r = 1
[plugins.slack]
late = 1
"""

PLACES: list[tuple[Place, int]] = [
    (("plugins_dir",), 1),
    (("orchestrator",), 3),
    (("orchestrator", "url"), 4),
    (("orchestrator", "password"), 5),
    (("orchestrator", "password", "env"), 5),
    (("orchestrator", "tok en"), 6),
    (("rules",), 7),
    (("rules", 0), 7),
    (("rules", 0, "name"), 8),
    (("rules", 0, "events"), 9),
    (("rules", 0, "events", 0), 10),
    (("rules", 0, "events", 1), 12),
    (("rules", 0, "events", 2, 0), 13),
    (("rules", 0, "events", 3), 13),
    (("rules", 0, "events", 3, "f", 0), 14),
    (("rules", 0, "sub"), 16),
    (("rules", 0, "sub", "deep", "er"), 17),
    (("rules", 1), 18),
    (("rules", 1, "name"), 19),
    (("rules", 1, "inline", "a"), 20),
    (("rules", 1, "inline", "b c", "d", "e", 0), 20),
    (("rules", 1, "inline", "b c", "d", "e", 1), 21),
    (("rules", 1, "parts", 0, "k"), 23),
    (("rules", 1, "parts", 1), 24),
    (("rules", 1, "parts", 1, "k"), 25),
    (("rules", 1, "parts", 1, "more", "k"), 27),
    (("plugins",), 28),
    (("plugins", "slack", "te.am"), 28),
    (("plugins", "slack", "te.am", "r"), 32),
    (("plugins", "slack"), 33),
    (("plugins", "slack", "late"), 34),
    # a missing key has the line of its table
    (("rules", 1, "notify"), 18),
    (("rules", 0, "sub", "x", "y"), 16),
]


@pytest.mark.parametrize(("place", "line"), PLACES, ids=[dotted(place) for place, _ in PLACES])
def test_a_place_has_its_line(place: Place, line: int) -> None:
    assert LineNumbers(TEXT).find(place) == line


def test_the_document_itself_has_no_line() -> None:
    assert LineNumbers(TEXT).find(()) is None
    assert LineNumbers("").find(("orchestrator",)) is None


keys = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=6),
)
scalars = st.one_of(
    st.integers(-9, 9), st.booleans(), st.text(st.characters(codec="utf-8", categories=["L"]), max_size=5)
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else quoted(value)
    )


@given(
    st.dictionaries(keys, st.dictionaries(keys, st.lists(scalars, max_size=3), max_size=3), max_size=4),
    st.lists(st.dictionaries(keys, scalars, max_size=3), max_size=3),
)
def test_every_key_of_any_document_is_found(
    tables: dict[str, dict[str, list[Any]]], entries: list[dict[str, Any]]
) -> None:
    lines: list[str] = []
    expected: dict[Place, int] = {}

    def write(line: str, *places: Place) -> None:
        lines.append(line)
        expected.update(dict.fromkeys(places, len(lines)))

    for name, table in tables.items():
        write(f"[t.{quoted(name)}]", ("t", name))
        for key, values in table.items():
            write(f"{quoted(key)} = [", ("t", name, key))
            for index, value in enumerate(values):
                write(f"  {written(value)}, # {key!r}", ("t", name, key, index))
            write("]")
    for number, entry in enumerate(entries):
        write("[[a]]", ("a", number))
        for key, value in entry.items():
            write(f"{quoted(key)} = {written(value)}", ("a", number, key))
    text = "\n".join(lines)
    assert tomllib.loads(text) == ({"t": tables} if tables else {}) | ({"a": entries} if entries else {})
    numbers = LineNumbers(text)
    assert {place: numbers.find(place) for place in expected} == expected
