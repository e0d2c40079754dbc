"""Notices that a config has no store yet, and finds the store that it had before it was moved or renamed.

The default store belongs to the path of the config (``models.state_file``). A config at a new path therefore
begins with an empty store, and forgets its queue. So the agent notes the path of its config beside the store.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aintandem_notify.config.models import STORE_SUFFIX, StoreConfig, state_file, store_location

NOTE_SUFFIX: Final = ".config-path"
_MAX_NOTE_BYTES: Final = 65_536
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store that the next start creates at ``path``.

    ``older`` is a store that probably has the config's history, None if there is none. ``config`` is the path that
    the config had then, None if it is unknown.
    """

    path: Path
    older: Path | None = None
    config: Path | None = None

    @property
    def sentence(self) -> str:
        """A sentence for the operator: where the new store is, and how to go on with the older one."""
        text = f"a new store is created at {self.path}"
        if self.older is None:
            return text
        origin = (
            "if this config was moved or renamed" if self.config is None else f"the config was at {self.config}"
        )
        return (
            f"{text}, but {self.older} has older deliveries ({origin}); "
            f'to go on with it, write url = "{_SQLITE}{self.older}" under [store]'
        )


def new_store(source: Path, store: StoreConfig, *, embedded: bool) -> NewStore | None:
    """The store that does not exist yet; None if it exists, is PostgreSQL or is temporary. Raises StoreError."""
    location = store_location(source, store, embedded=embedded)
    if isinstance(location, str):
        path = Path(location.removeprefix(_SQLITE)) if location.startswith(_SQLITE) else None
        return None if path is None or str(path) == ":memory:" or _exists(path) else NewStore(path)
    if location is None or _exists(location):
        return None
    candidates = sorted(_older_stores(source, location), key=lambda found: _modified(found[0]))
    return NewStore(location, *candidates[-1]) if candidates else NewStore(location)


def note_config_path(source: Path) -> None:
    """Note the config's path beside its default store, which exists; without effect if that is impossible."""
    note = state_file(source, NOTE_SUFFIX)
    with suppress(OSError):
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.fsencode(os.path.abspath(source)))  # noqa: PTH100  # as in ``state_file``


def _older_stores(source: Path, location: Path) -> Iterator[tuple[Path, Path | None]]:
    """The stores whose config is gone, with its old path; without a known path only those of the same name."""
    stem = _stem(location)
    for path in _files(location.parent):
        config = _noted_path(path) or _sibling(source, path)
        if config is None and _stem(path) == stem:
            yield path, None
        elif config is not None and not os.path.lexists(config):
            yield path, config


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name.endswith(STORE_SUFFIX)]
    except OSError:
        return []


def _noted_path(store: Path) -> Path | None:
    try:
        with store.with_name(store.name.removesuffix(STORE_SUFFIX) + NOTE_SUFFIX).open("rb") as file:
            text = file.read(_MAX_NOTE_BYTES)
    except OSError:
        return None
    return Path(os.fsdecode(text)) if text and b"\0" not in text else None


def _sibling(source: Path, store: Path) -> Path | None:
    """The path of the config of ``store`` if it is in the folder of ``source``; else None."""
    config = source.absolute().with_name(f"{_stem(store)}{source.suffix}")
    return config if state_file(config, STORE_SUFFIX, store.parent) == store else None


def _stem(store: Path) -> str:
    return store.name.removesuffix(STORE_SUFFIX).rpartition("-")[0]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # opening it will tell


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
