"""Finds plugins among entry points and in ``plugins_dir``, and imports them.

Every problem of an import becomes an ``ImportFailed`` with file and line. The module name of a plugin file holds
a hash of its path, so that plugins of two configs never mix. No bytecode is written next to the file.
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
from aintandem_notify.plugins.discovery.helper_modules import (
    PLUGIN_FILE_PREFIX,
    digest_of,
    fresh_helpers,
    helper_files,
)

OWN_DISTRIBUTION: Final = "aintandem-notify"
# An attribute of the module of a plugin file; while it matches, a reload of the config keeps the same classes.
_FINGERPRINT: Final = "__aintandem_notify_fingerprint__"
_HELPERS: Final = "__aintandem_notify_helpers__"
_PLUGIN_FILE_STEM: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# pydantic appends this to its errors.
_PYDANTIC_LINK: Final = re.compile(r" For further information visit https://errors\.pydantic\.dev/\S+")


NOT_PYDANTICS_FIELD: Final = (
    "Field of aintandem_notify.api is a fact of a notification; keys of the config take the Field of pydantic"
)
"""A sentence for the author who took the one for the other."""
_FIELD_MISUSED: Final = "TypeError: Field.__new__() "


class ImportFailed(Exception):
    """A module could not be imported; the text says where and why."""


def installed_entry_points() -> tuple[EntryPoint, ...]:
    """The entry points of all plugins of installed packages; imports none."""
    return tuple(entry_points(group=PROJECT))


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A plugin of an installed package."""

    entry_point: EntryPoint

    @property
    def origin(self) -> str:
        """The plugin's origin, for people: ``built in`` or its package with version."""
        distribution = self.entry_point.dist
        if distribution is None:
            return f"module {self.entry_point.module}"
        if distribution.name == OWN_DISTRIBUTION:
            return "built in"
        return f"package {distribution.name} {distribution.version}"

    def source_files(self) -> SourceFiles:
        """The module's file and the folder of its package; both None for a missing module."""
        package, module = self.entry_point.module.partition(".")[0], sys.modules.get(self.entry_point.module)
        try:
            # Of the top-level package: to find a subpackage, Python would import its parents.
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError, AttributeError):
            return SourceFiles()
        if spec is None or spec.origin is None:
            return SourceFiles()
        own = vars(module).get("__file__") if type(module) is ModuleType else None
        file = Path(own) if type(own) is str else Path(spec.origin)
        return SourceFiles(file, Path(spec.origin).parent if spec.submodule_search_locations is not None else None)

    def load(self) -> ModuleType:
        """Import the module; raises ``ImportFailed``."""
        if self.entry_point.attr:
            raise ImportFailed(f"its entry point {self.entry_point.value!r} must name a module, without a colon")
        with _import_guard(self.source_files):
            return importlib.import_module(self.entry_point.module)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A plugin that is a file in ``plugins_dir``."""

    path: Path

    @property
    def origin(self) -> str:
        """The plugin's origin, for people: its file."""
        return f"file {format_location(self.path)}"

    @property
    def module_name(self) -> str:
        """A module name that is unique to this path."""
        digest = blake2b(os.fsencode(self.path.resolve()), digest_size=8).hexdigest()
        return f"{PLUGIN_FILE_PREFIX}{self.path.stem.replace('-', '_')}_{digest}"

    def source_files(self) -> SourceFiles:
        """The file, and the helpers that it was imported with."""
        module = sys.modules.get(self.module_name)
        helpers = vars(module).get(_HELPERS, ()) if type(module) is ModuleType else ()
        return SourceFiles(self.path, helpers=frozenset(helpers))

    def load(self) -> ModuleType:
        """Import the module, again if the file or one of its helpers has changed; raises ``ImportFailed``."""
        name, content = self.module_name, self._content_digest()
        previous = sys.modules.get(name)
        if type(previous) is ModuleType and vars(previous).get(_FINGERPRINT) == _fingerprint(content, previous):
            return previous
        loader = _SourceOnlyLoader(name, str(self.path))
        module = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=str(self.path)))
        module.__file__ = str(self.path)
        # pydantic and dataclasses resolve annotations in sys.modules.
        sys.modules[name] = module
        try:
            with _import_guard(self.source_files), fresh_helpers(self.path.parent):
                loader.exec_module(module)
        except BaseException:
            # Unless another reload has given this import up, and imported the file itself.
            if sys.modules.get(name) is module:
                _restore_module(name, previous)
            raise
        vars(module)[_HELPERS] = helper_files(self.path.parent)
        # Only now: the import may block, and be given up half-way by a reload.
        vars(module)[_FINGERPRINT] = _fingerprint(content, module)
        return module

    def _content_digest(self) -> str:
        try:
            return blake2b(self.path.read_bytes(), digest_size=16).hexdigest()
        except OSError as error:
            raise ImportFailed(f"{format_location(self.path)} cannot be read: {error.strerror}") from error


def _fingerprint(content: str, module: ModuleType) -> str:
    """The digests of a plugin file and of the helpers that it was imported with, as they are now."""
    return " ".join([content, *map(digest_of, vars(module).get(_HELPERS, ()))])


Source = PackageSource | FileSource


@contextmanager
def _import_guard(source_files: Callable[[], SourceFiles]) -> Iterator[None]:
    """Turn every exception of an import into ``ImportFailed``, except for a Ctrl-C of the user.

    Prints during the import go to standard error, and signal handlers that it sets are reset.
    """
    try:
        with preserve_signal_handlers(), prints_to_stderr():
            yield
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        raise ImportFailed(_describe_import_error(error, source_files())) from None


class _ThreadRedirect(io.TextIOBase):
    """A standard output that sends the writes of one thread to standard error; closing it closes nothing.

    Other threads keep the original standard output, because the import of a plugin may block for ever.
    """

    def __init__(self, original: TextIO | None) -> None:
        self._original = original
        self._thread = threading.get_ident()

    def _target(self) -> TextIO | None:
        return sys.stderr if threading.get_ident() == self._thread else self._original

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
        """The encoding of the stream that receives the writes."""
        return getattr(self._target(), "encoding", None) or "utf-8"

    def close(self) -> None:
        """Keeps the stream open: others write to it, too."""


def prints_to_stderr() -> AbstractContextManager[object]:
    """Send this thread's prints to standard error: prints of plugin code must not end up within a schema."""
    return redirect_stdout(_ThreadRedirect(sys.stdout))


class _SourceOnlyLoader(SourceFileLoader):
    """Ignores bytecode: none is stale after a quick edit, and none is left next to the config."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def sources_of(name: str, points: tuple[EntryPoint, ...], plugins_dir: Path) -> list[Source]:
    """All plugins called ``name``."""
    packages = [PackageSource(point) for point in points if point.name == name]
    path = plugins_dir / f"{name}.py"
    return [*packages, *([FileSource(path)] if _PLUGIN_FILE_STEM.fullmatch(name) and _is_file(path) else [])]


def file_names(plugins_dir: Path) -> Iterator[str]:
    """The names of the plugins that are files in the folder; none if it cannot be read."""
    with suppress(OSError):
        yield from (path.stem for path in plugins_dir.glob("*.py") if _PLUGIN_FILE_STEM.fullmatch(path.stem))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no permission for a parent folder
        return False


def _restore_module(name: str, module: ModuleType | None) -> None:
    if module is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = module


def _describe_import_error(error: BaseException, source_files: SourceFiles) -> str:
    """``plugins/beep.py:7: NameError: name 'x' is not defined``, with the innermost line within the plugin."""
    if isinstance(error, SyntaxError) and type(error.filename) is str and source_files.contains(error.filename):
        line = error.lineno if type(error.lineno) is int else None
        return with_location(format_location(error.filename, line), f"{error_name(error)}: {safe_text(error.msg)}")
    text = _PYDANTIC_LINK.sub("", describe_error(error))
    if text.startswith(_FIELD_MISUSED):
        text = NOT_PYDANTICS_FIELD
    return with_location(source_files.raised_at(error), text)
