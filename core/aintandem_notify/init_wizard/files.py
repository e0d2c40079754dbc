"""A config and its secret files, written all or not at all."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aintandem_notify.foundation.private_folders import make_folder
from aintandem_notify.init_wizard.draft import Draft


def conflicting_files(draft: Draft, path: Path) -> list[Path]:
    """The secret files that are there already and hold something else."""
    found = []
    for name, secret in draft.secret_files(path.stem).items():
        file = path.parent / name
        with suppress(FileNotFoundError):
            if file.is_dir() or file.read_bytes().rstrip(b"\r\n") != secret.encode():
                found.append(file)
    return found


def write(draft: Draft, path: Path) -> list[Path]:
    """Write the secret files (readable for their owner only) and then the config, in place of what is there.

    Returns what was written. Everything is written beside first: when that fails, nothing has changed. A Ctrl-C
    meanwhile comes too late. Raises OSError. To be called in the main thread.
    """
    contents = {path.parent / name: f"{secret}\n" for name, secret in draft.secret_files(path.stem).items()}
    new_folders = {file.parent for file in contents if not file.parent.exists()}
    contents[path] = draft.text(path.stem)
    with _undisturbed():
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
            mode = 0o600 if file in private else 0o644  # never writable for others: a config names code
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
def _undisturbed() -> Iterator[None]:
    """A Ctrl-C in this blink of an eye is left unheard."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
