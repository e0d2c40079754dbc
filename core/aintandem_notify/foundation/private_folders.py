"""Creates folders that only their owner can read, with any umask. All our folders are created here.

They hold tokens and the names of projects. Files are opened with mode 0600 by their writers. ``Path.mkdir`` is not
used for the parents: it creates them with 0777 minus the umask.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o700


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its missing parents, each with mode 0700. An existing folder stays as it is.

    Raises OSError, also if there is a file of that name.
    """
    try:
        folder.mkdir(mode=OWNER_ONLY)
    except FileNotFoundError:
        if folder.parent.is_dir():  # nothing can be made there, as in /proc
            raise
        make_folder(folder.parent)
        make_folder(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        with suppress(OSError):  # file systems without modes
            folder.chmod(OWNER_ONLY)  # the umask may have removed permissions of the owner
