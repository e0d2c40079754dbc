"""Finds file and line of an exception or a class attribute in a plugin's source: ``plugins/beep.py:7``.

Reads source files to find the line where a class body sets an attribute; has no other side effects.
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
"""Frames of a traceback that are read; more than Python's own limit of recursion."""


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The source files of a plugin: its module's file, the folder of its package if it is one, and its helpers."""

    file: Path | None = None
    folder: Path | None = None
    helpers: frozenset[str] = frozenset()

    def raised_at(self, error: BaseException) -> str:
        """The innermost line of the plugin in the traceback of ``error``; only the file if there is none."""
        return self.line_in(error) or format_location(self.file)

    def line_in(self, error: BaseException) -> str:
        """The innermost line of the plugin in the traceback of ``error``; empty if there is none."""
        own_lines = [line for line in _frames(error) if self.contains(line[0])]
        return format_location(*own_lines[-1]) if own_lines else ""

    def defined_at(self, cls: type, attribute: str | None = None) -> str:
        """The line where the class, or a base class, sets the attribute; else the line where the class begins."""
        owner = next((base for base in _mro(cls) if attribute in _own_attributes(base)), cls)
        module = sys.modules.get(str(_own_attributes(owner).get("__module__")))
        file = getattr(module, "__file__", None) if type(module) is ModuleType else None
        if type(file) is not str or not self.contains(file):
            return format_location(self.file)
        return format_location(file, _line_of(Path(file), type.__getattribute__(owner, "__name__"), attribute))

    def contains(self, file: str) -> bool:
        """True if the file belongs to the plugin."""
        if self.folder is not None and file.startswith(f"{self.folder}{os.sep}"):
            return True
        return file in self.helpers or (self.file is not None and file == str(self.file))


def format_location(file: Path | str | None, line: int | None = None) -> str:
    """``plugins/beep.py:7``: the file with its parent folder, and the line if given; empty if ``file`` is None."""
    if file is None:
        return ""
    path = Path(file)
    name = safe_text(Path(path.parent.name, path.name))
    return f"{name}:{line}" if line else name


def raising_line(error: BaseException) -> str:
    """The line that raised ``error``, of any module; empty without a traceback."""
    frames = list(_frames(error))
    return format_location(*frames[-1]) if frames else ""


def with_location(location: str, text: str) -> str:
    """``location: text``; only the text if the location is empty."""
    return f"{location}: {text}" if location else text


def _mro(cls: type) -> tuple[type, ...]:
    bases: tuple[type, ...] = vars(type)["__mro__"].__get__(cls)
    return bases


def _own_attributes(cls: type) -> Mapping[str, object]:
    """The attributes of the class itself; a metaclass cannot interfere."""
    own: Mapping[str, object] = vars(type)["__dict__"].__get__(cls)
    return own


def _frames(error: BaseException) -> Iterator[tuple[str, int | None]]:
    # From the slot of BaseException: a plugin's class may override the attribute, and raise.
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
        lines = [node.lineno for node in cls.body if attribute in _assigned_names(node)]
        if lines:
            return lines[-1]
    return classes[0].lineno if classes else None


def _assigned_names(node: ast.stmt) -> list[str]:
    """The names that a statement of a class body assigns."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case _:
            return []
