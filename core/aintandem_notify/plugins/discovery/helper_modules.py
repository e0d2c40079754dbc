"""Modules in ``plugins_dir`` that plugin files import: a changed one is imported again by the next reload.

A plugin file finds such a module only if it puts the folder on ``sys.path`` itself. All helpers of the folder are
forgotten at once if one has changed, because they may hold parts of one another.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Final

from aintandem_notify.hookspecs import PROJECT

PLUGIN_FILE_PREFIX: Final = f"{PROJECT}_file_"
"""The beginning of the module name of a plugin file, which is no helper."""
_NO_HELPERS: Final = frozenset({PROJECT, "__main__"})
_DIGEST: Final = "__aintandem_notify_helper_digest__"
# An attribute of a helper: the digest of its file when it was imported.


def digest_of(file: Path | str) -> str:
    """A hash of the file's content; empty if it cannot be read."""
    try:
        return blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""


def helper_files(folder: Path) -> tuple[str, ...]:
    """The files of the helpers that are imported now, sorted."""
    return tuple(sorted(str(vars(module)["__file__"]) for module in _helpers(folder).values()))


@contextmanager
def fresh_helpers(folder: Path) -> Iterator[None]:
    """Imports of the block get the helpers as their files are now; an exception brings the old modules back.

    Leaves no bytecode behind: it would be taken for that of a file that was changed within the same second.
    """
    before, writes_none = _helpers(folder), sys.dont_write_bytecode
    if any(digest_of(vars(module)["__file__"]) != vars(module).get(_DIGEST) for module in before.values()):
        for name in before:
            sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode = True
    try:
        yield
    except BaseException:
        for name in _helpers(folder):
            sys.modules.pop(name, None)
        sys.modules.update(before)
        raise
    finally:
        sys.dont_write_bytecode = writes_none
    for module in _helpers(folder).values():
        vars(module).setdefault(_DIGEST, digest_of(vars(module)["__file__"]))


def _helpers(folder: Path) -> dict[str, ModuleType]:
    folders = {folder.absolute(), folder.resolve()}
    return {
        name: module
        for name, module in list(sys.modules.items())
        if type(module) is ModuleType
        and type(file := vars(module).get("__file__")) is str
        and name.partition(".")[0] not in _NO_HELPERS
        and not name.startswith(PLUGIN_FILE_PREFIX)
        and any(_is_found_in(path, name, file) for path in folders)
    }


def _is_found_in(folder: Path, name: str, file: str) -> bool:
    """True for ``folder/name.py``; False for a module of an environment that lies in the folder."""
    place = str(folder.joinpath(*name.split(".")))
    return file in {f"{place}.py", f"{place}{os.sep}__init__.py"}
