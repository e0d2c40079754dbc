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
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from aintandem_notify.hookspecs import PROJECT

OWN_DISTRIBUTION: Final = "aintandem-notify"
# Kept on the module of a one-file plugin, so that a reload of the config finds the same classes again.
_FINGERPRINT: Final = "__aintandem_notify_fingerprint__"
_FILE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


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

    def load(self) -> ModuleType:
        """The imported module; raises ``ImportFailed``."""
        if self.entry_point.attr:
            raise ImportFailed(f"its entry point {self.entry_point.value!r} must name a module, without a colon")
        try:
            with _printing_to_stderr():
                return importlib.import_module(self.entry_point.module)
        except KeyboardInterrupt:  # a person who does not want to wait, not the plugin
            raise
        except BaseException as error:  # sys.exit too
            raise ImportFailed(_where_and_why(error, _folder_of(self.entry_point.module))) from error


@dataclass(frozen=True, slots=True)
class FileSource:
    """A plugin that is one file in ``plugins_dir``."""

    path: Path

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"file {_shown(self.path)}"

    @property
    def fingerprint(self) -> str:
        """Changes when the file does; raises ``ImportFailed`` if it cannot be read."""
        try:
            return blake2b(self.path.read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            raise ImportFailed(f"{_shown(self.path)} cannot be read: {error.strerror}") from error

    @property
    def module_name(self) -> str:
        """Unique to this path."""
        digest = blake2b(os.fsencode(self.path.resolve()), digest_size=8).hexdigest()
        return f"{PROJECT}_file_{self.path.stem.replace('-', '_')}_{digest}"

    def load(self) -> ModuleType:
        """The imported module, anew if the file has changed since; raises ``ImportFailed``."""
        name, fingerprint = self.module_name, self.fingerprint
        before = sys.modules.get(name)
        if before is not None and getattr(before, _FINGERPRINT, None) == fingerprint:
            return before
        loader = _PlainLoader(name, str(self.path))
        module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(self.path)))
        module.__file__ = str(self.path)
        setattr(module, _FINGERPRINT, fingerprint)
        # pydantic and dataclasses look annotations up in there.
        sys.modules[name] = module
        try:
            with _printing_to_stderr():
                loader.exec_module(module)
        except BaseException as error:
            _put_back(name, before)
            if isinstance(error, KeyboardInterrupt):  # a person, not the plugin
                raise
            raise ImportFailed(_where_and_why(error, self.path)) from error
        return module


Source = PackageSource | FileSource


class _Stderr(io.TextIOBase):
    """Writes to standard error, whatever that is at the moment; closing it closes nothing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text) if sys.stderr is not None else len(text)

    def close(self) -> None:
        """Others write there, too."""


def _printing_to_stderr() -> AbstractContextManager[object]:
    """What a module prints while it is imported must not stand in the middle of a schema."""
    return redirect_stdout(_Stderr())


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
    return [*packages, *([FileSource(path)] if _FILE_NAME.fullmatch(name) and path.is_file() else [])]


def file_names(plugins_dir: Path) -> Iterator[str]:
    """The plugins that stand as files in the folder."""
    if plugins_dir.is_dir():
        yield from (path.stem for path in plugins_dir.glob("*.py") if _FILE_NAME.fullmatch(path.stem))


def _put_back(name: str, module: ModuleType | None) -> None:
    if module is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


def _folder_of(module: str) -> Path | None:
    try:
        # Of the outermost package: to find one further in, Python would import those around it.
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin else None


def _where_and_why(error: BaseException, place: Path | None) -> str:
    """``plugins/beep.py:7: NameError: name 'x' is not defined``, the innermost line within ``place``."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(Path(error.filename))}:{error.lineno}: {type(error).__name__}: {error.msg}"
    why = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if place is not None and Path(frame.filename).is_relative_to(place)
    ]
    if frames:
        return f"{_shown(Path(frames[-1].filename))}:{frames[-1].lineno}: {why}"
    return f"{_shown(place)}: {why}" if place is not None and place.is_file() else why


def _shown(path: Path) -> str:
    """The file with the folder that it is in, as people know it."""
    return str(Path(path.parent.name, path.name))
