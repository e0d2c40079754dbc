"""Writes a config and its secret files: all of them or none."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.init_wizard.draft import SECRETS, Draft

GIT_IGNORES_ALL: Final = "# Git leaves out this folder, because its files are secret.\n*\n"
"""The content of a ``.gitignore`` that leaves out its whole folder, itself too."""


def conflicting_files(draft: Draft, path: Path) -> list[Path]:
    """Returns the secret files that exist with other content."""
    conflicts = []
    for name, secret in draft.secret_files(path.stem).items():
        file = path.parent / name
        with suppress(FileNotFoundError):
            if file.is_dir() or file.read_bytes().rstrip(b"\r\n") != secret.encode():
                conflicts.append(file)
    return conflicts


def write(draft: Draft, path: Path) -> list[Path]:
    """Writes the secret files (readable for their owner only), then the config; replaces existing files.

    Git ignores the folder of the secrets. Returns the paths. Writes temporary files first, so that a failure
    changes nothing. Ignores Ctrl-C meanwhile. Raises OSError. Call it in the main thread.
    """
    contents = {path.parent / name: f"{secret}\n" for name, secret in draft.secret_files(path.stem).items()}
    if contents and not (ignored := path.parent / SECRETS / ".gitignore").exists():
        contents[ignored] = GIT_IGNORES_ALL
    new_folders = {file.parent for file in contents if not file.parent.exists()}
    contents[path] = draft.text(path.stem)
    with _interrupts_ignored():
        try:
            for folder in new_folders:
                make_folder(folder)
            _write_all(contents, private=contents.keys() - {path})
        except BaseException:
            for folder in new_folders:
                with suppress(OSError):
                    folder.rmdir()
            raise
    return list(contents)


def _write_all(contents: Mapping[Path, str], private: set[Path]) -> None:
    drafts = {file: file.with_name(f".{file.name}.{os.getpid()}.new") for file in contents}
    try:
        for file, content in contents.items():
            mode = (
                0o600 if file in private else 0o644
            )  # never writable by others: a config names code that the agent runs
            descriptor = os.open(drafts[file], os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
        for file in contents:
            drafts[file].replace(file)
    except BaseException:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignores Ctrl-C during the block."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
