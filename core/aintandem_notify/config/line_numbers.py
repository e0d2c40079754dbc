"""Finds the line of each key in a TOML file, for error messages.

``tomllib`` keeps no positions, and a text search finds the wrong place once two tables have the same keys.
tree-sitter's TOML grammar gives the line of every key and value. It is imported only when there is an error to
report, so a valid config does not pay for it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from aintandem_notify.config.findings import Place

if TYPE_CHECKING:
    from tree_sitter import Node


class LineNumbers:
    """The line numbers of one valid TOML document."""

    def __init__(self, text: str) -> None:
        import tree_sitter_toml
        from tree_sitter import Language, Parser

        source = text.encode()
        self._lines: dict[Place, int] = {}
        self._lengths: dict[Place, int] = {}
        for node in Parser(Language(tree_sitter_toml.language())).parse(source).root_node.children:
            self._add_statement(node)

    def find(self, place: Place) -> int | None:
        """The line of ``place``, counted from 1; for a missing key that of its table.

        None for the document itself.
        """
        for length in range(len(place), 0, -1):
            if (line := self._lines.get(place[:length])) is not None:
                return line
        return None

    def _add_statement(self, node: "Node") -> None:
        match node.type:
            case "pair":
                self._add_pair((), node)
            case "table" | "table_array_element":
                header, *pairs = (child for child in node.named_children if child.type != "comment")
                place = self._add_header(header, repeats=node.type == "table_array_element")
                for pair in pairs:
                    self._add_pair(place, pair)

    def _add_header(self, header: "Node", *, repeats: bool) -> Place:
        """The place that ``[header]`` or ``[[header]]`` opens; the name of an array means its last element."""
        line = header.start_point.row + 1
        place: Place = ()
        keys = list(_keys(header))
        for index, key in enumerate(keys):
            place = (*place, key)
            self._lines.setdefault(place, line)
            if index == len(keys) - 1 and repeats:
                self._lengths[place] = self._lengths.get(place, 0) + 1
            elif index == len(keys) - 1:
                self._lines[place] = line  # not the line of an earlier [table.inside]
            if length := self._lengths.get(place):
                place = (*place, length - 1)
                self._lines.setdefault(place, line)
        return place

    def _add_pair(self, table: Place, pair: "Node") -> None:
        key, *values = (child for child in pair.named_children if child.type != "comment")
        place = table
        for part in _keys(key):
            place = (*place, part)
            self._lines.setdefault(place, key.start_point.row + 1)
        for value in values:
            self._add_value(place, value)

    def _add_value(self, place: Place, value: "Node") -> None:
        children = [child for child in value.named_children if child.type != "comment"]
        if value.type == "inline_table":
            for pair in children:
                self._add_pair(place, pair)
        elif value.type == "array":
            for index, item in enumerate(children):
                self._lines[*place, index] = item.start_point.row + 1
                self._add_value((*place, index), item)


def _keys(node: "Node") -> Iterator[str]:
    """The parts of a bare, quoted or dotted key."""
    text = (node.text or b"").decode()
    # tomllib handles quotes and escapes.
    table: object = tomllib.loads(f"{text} = 0")
    while isinstance(table, Mapping):
        [(key, table)] = table.items()
        yield key
