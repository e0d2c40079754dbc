"""Where in a plugin's source something stands or happened: ``plugins/beep.py:7``.

Pure but for reading the source: an attribute's line is where the class body sets it.
"""

import ast
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

from aintandem_notify.log import safe_text

MAX_FRAMES: Final = 10_000
"""Frames of a traceback that are looked at; more than Python's own limit of recursion."""


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The source of a plugin: its module's file, and the folder of its package if it is one."""

    file: Path | None = None
    folder: Path | None = None

    def raised_at(self, error: BaseException) -> str:
        """The innermost line of the plugin that ``error`` came through; only the file if there is none."""
        inside = [place for place in _frames(error) if self.contains(place[0])]
        return format_location(*inside[-1]) if inside else format_location(self.file)

    def defined_at(self, cls: type, attribute: str | None = None) -> str:
        """The line where the class, or a base of it, sets the attribute; else the one where it begins."""
        owner = next((base for base in _bases(cls) if attribute in _own(base)), cls)
        module = sys.modules.get(str(_own(owner).get("__module__")))
        file = getattr(module, "__file__", None) if type(module) is ModuleType else None
        if type(file) is not str or not self.contains(file):
            return format_location(self.file)
        return format_location(file, _line_of(Path(file), type.__getattribute__(owner, "__name__"), attribute))

    def contains(self, file: str) -> bool:
        """Whether the file is the plugin's own."""
        if self.folder is not None and file.startswith(f"{self.folder}{os.sep}"):
            return True
        return self.file is not None and file == str(self.file)


def format_location(file: Path | str | None, line: int | None = None) -> str:
    """``plugins/beep.py:7``: the file with the folder that it is in, as people know it; empty without one."""
    if file is None:
        return ""
    path = Path(file)
    shown = safe_text(Path(path.parent.name, path.name))
    return f"{shown}:{line}" if line else shown


def raising_line(error: BaseException) -> str:
    """The line that raised it, whosoever it is."""
    frames = list(_frames(error))
    return format_location(*frames[-1]) if frames else ""


def with_location(place: str, text: str) -> str:
    """``text`` behind its place, if there is one."""
    return f"{place}: {text}" if place else text


def _bases(cls: type) -> tuple[type, ...]:
    bases: tuple[type, ...] = vars(type)["__mro__"].__get__(cls)
    return bases


def _own(cls: type) -> Mapping[str, object]:
    """What stands on the class itself, whatever a metaclass says."""
    own: Mapping[str, object] = vars(type)["__dict__"].__get__(cls)
    return own


def _frames(error: BaseException) -> Iterator[tuple[str, int | None]]:
    # From the base class's own slot: a class of the plugin may say something else, or raise.
    trace: TracebackType | None = vars(BaseException)["__traceback__"].__get__(error)
    for _ in range(MAX_FRAMES):
        if trace is None:
            return
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _line_of(file: Path, class_name: str, attribute: str | None) -> int | None:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == class_name]
    for cls in classes:
        lines = [node.lineno for node in cls.body if attribute in _names(node)]
        if lines:
            return lines[-1]
    return classes[0].lineno if classes else None


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement of a class body sets."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case _:
            return []
