"""The one way in which folders of ours come to be: for their owner only, whatever the umask says.

What lies in them tells of somebody's projects and holds tokens. Files are opened with mode 0600 where they are
made; a folder is made here, because ``Path.mkdir`` gives the folders above it what the umask leaves of 0777.
"""

from contextlib import suppress
from pathlib import Path
from typing import Final

OWNER_ONLY: Final = 0o700


def make_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, each with mode 0700; one that is there stays as it is.

    Raises OSError, also where a file stands in its place.
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
            folder.chmod(OWNER_ONLY)  # a umask may have taken some of the owner's own
