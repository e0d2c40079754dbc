"""Where plugins come from, entry points and files beside the config, and how each is imported.

Whatever goes wrong while a module is imported becomes an ``ImportFailed`` with file and line. A one-file
plugin is a module of its own name in ``sys.modules``, which holds a hash of its path, so that the plugins of
two configs never meet; no bytecode is written beside it.
"""

import importlib
import importlib.util
import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, TextIO

from aintandem_notify.foundation.signals import is_ctrl_c, preserve_signal_handlers
from aintandem_notify.hookspecs import PROJECT
from aintandem_notify.log import describe_error, error_name, safe_text
from aintandem_notify.plugins.border import SourceFiles, format_location, with_location

OWN_DISTRIBUTION: Final = "aintandem-notify"
# Kept on the module of a one-file plugin, so that a reload of the config finds the same classes again.
_FINGERPRINT: Final = "__aintandem_notify_fingerprint__"
_FILE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# What pydantic adds to its errors.
_NO_LINKS: Final = re.compile(r" For further information visit https://errors\.pydantic\.dev/\S+")


class ImportFailed(Exception):
    """A module could not be imported; the text says where and why."""


def installed_entry_points() -> tuple[EntryPoint, ...]:
    """All plugins that installed packages offer, none of them imported."""
    return tuple(entry_points(group=PROJECT))


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A plugin that an installed package offers."""

    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        distribution = self.entry_point.dist
        if distribution is None:
            return f"module {self.entry_point.module}"
        if distribution.name == OWN_DISTRIBUTION:
            return "built in"
        return f"package {distribution.name} {distribution.version}"

    @property
    def fingerprint(self) -> str:
        """What it is imported from; an installed module stays the same for the life of the process."""
        return self.entry_point.value

    def source_files(self) -> SourceFiles:
        """The folder of its package, and the module's file; nothing for a module that is not there."""
        package, module = self.entry_point.module.partition(".")[0], sys.modules.get(self.entry_point.module)
        try:
            # Of the outermost package: to find one further in, Python would import those around it.
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError, AttributeError):
            return SourceFiles()
        if spec is None or spec.origin is None:
            return SourceFiles()
        own = vars(module).get("__file__") if type(module) is ModuleType else None
        file = Path(own) if type(own) is str else Path(spec.origin)
        return SourceFiles(file, Path(spec.origin).parent if spec.submodule_search_locations is not None else None)

    def load(self) -> ModuleType:
        """The imported module; raises ``ImportFailed``."""
        if self.entry_point.attr:
            raise ImportFailed(f"its entry point {self.entry_point.value!r} must name a module, without a colon")
        with _reported(self.source_files):
            return importlib.import_module(self.entry_point.module)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A plugin that is one file in ``plugins_dir``."""

    path: Path

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"file {format_location(self.path)}"

    @property
    def fingerprint(self) -> str:
        """Changes when the file does; raises ``ImportFailed`` if it cannot be read."""
        try:
            return blake2b(self.path.read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            raise ImportFailed(f"{format_location(self.path)} cannot be read: {error.strerror}") from error

    @property
    def module_name(self) -> str:
        """Unique to this path."""
        digest = blake2b(os.fsencode(self.path.resolve()), digest_size=8).hexdigest()
        return f"{PROJECT}_file_{self.path.stem.replace('-', '_')}_{digest}"

    def source_files(self) -> SourceFiles:
        """The file."""
        return SourceFiles(self.path)

    def load(self) -> ModuleType:
        """The imported module, anew if the file has changed since; raises ``ImportFailed``."""
        name, fingerprint = self.module_name, self.fingerprint
        before = sys.modules.get(name)
        if type(before) is ModuleType and vars(before).get(_FINGERPRINT) == fingerprint:
            return before
        loader = _PlainLoader(name, str(self.path))
        module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(self.path)))
        module.__file__ = str(self.path)
        setattr(module, _FINGERPRINT, fingerprint)
        # pydantic and dataclasses look annotations up in there.
        sys.modules[name] = module
        try:
            with _reported(self.source_files):
                loader.exec_module(module)
        except BaseException:
            _put_back(name, before)
            raise
        return module


Source = PackageSource | FileSource


@contextmanager
def _reported(source_files: Callable[[], SourceFiles]) -> Iterator[None]:
    """Turns whatever an import raises into ``ImportFailed``.

    What it prints is kept out of standard output, and no signal is taken from the agent.
    """
    try:
        with preserve_signal_handlers(), prints_to_stderr():
            yield
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise ImportFailed(_where_and_why(error, source_files())) from None


class _Diverted(io.TextIOBase):
    """Standard output for a while: what one thread writes goes to standard error; closing it closes nothing.

    What the other threads write goes where it went before: a plugin may block for ever while it is imported.
    """

    def __init__(self, before: TextIO | None) -> None:
        self._before = before
        self._thread = threading.get_ident()

    def _target(self) -> TextIO | None:
        return sys.stderr if threading.get_ident() == self._thread else self._before

    def write(self, text: str) -> int:
        target = self._target()
        return target.write(text) if target is not None else len(text)

    def flush(self) -> None:
        if (target := self._target()) is not None:
            target.flush()

    def isatty(self) -> bool:
        return (target := self._target()) is not None and target.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As that of the stream behind it."""
        return getattr(self._target(), "encoding", None) or "utf-8"

    def close(self) -> None:
        """Others write there, too."""


def prints_to_stderr() -> AbstractContextManager[object]:
    """What code of a plugin prints while it is looked at must not stand in the middle of a schema."""
    return redirect_stdout(_Diverted(sys.stdout))


class _PlainLoader(SourceFileLoader):
    """Reads the source and nothing else: no stale bytecode after a quick edit, none left beside the config."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def sources_of(name: str, points: tuple[EntryPoint, ...], plugins_dir: Path) -> list[Source]:
    """Everything that is called ``name``."""
    packages = [PackageSource(point) for point in points if point.name == name]
    path = plugins_dir / f"{name}.py"
    return [*packages, *([FileSource(path)] if _FILE_NAME.fullmatch(name) and _is_file(path) else [])]


def file_names(plugins_dir: Path) -> Iterator[str]:
    """The plugins that stand as files in the folder."""
    with suppress(OSError):  # a folder that cannot be read has nothing for us
        yield from (path.stem for path in plugins_dir.glob("*.py") if _FILE_NAME.fullmatch(path.stem))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way that may not be entered
        return False


def _put_back(name: str, module: ModuleType | None) -> None:
    if module is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


def _where_and_why(error: BaseException, source_files: SourceFiles) -> str:
    """``plugins/beep.py:7: NameError: name 'x' is not defined``, the innermost line within the plugin."""
    if isinstance(error, SyntaxError) and type(error.filename) is str and source_files.contains(error.filename):
        line = error.lineno if type(error.lineno) is int else None
        return with_location(format_location(error.filename, line), f"{error_name(error)}: {safe_text(error.msg)}")
    return with_location(source_files.raised_at(error), _NO_LINKS.sub("", describe_error(error)))
