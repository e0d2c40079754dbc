"""Environments of the process: the files behind its descriptors, and its limits.

Each is a script for ``sh -c SCRIPT sh COMMAND ARGUMENT…`` that in the end becomes ``"$@"``, so that a signal to
the started process reaches the command.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Shell:
    """``script`` as above; ``runs`` says whether the command can do its work there, or must say that it cannot."""

    script: str
    runs: bool = True


IS_ROOT: Final = hasattr(os, "geteuid") and os.geteuid() == 0
"""Whom no mode of a file hinders."""

_JOURNAL: Final = "export JOURNAL_STREAM=$(stat -L -c %d:%i /dev/fd/2)"
"""Calls standard error the journal, as systemd does."""

DESCRIPTORS: Final[Mapping[str, Shell]] = {
    "stdin closed": Shell('exec "$@" <&-'),
    "stdout closed": Shell('exec "$@" >&-'),
    "stderr closed": Shell('exec "$@" 2>&-'),
    "stdin and stdout closed": Shell('exec "$@" <&- >&-'),
    "all three closed": Shell('exec "$@" <&- >&- 2>&-'),
    "stdout full": Shell('exec "$@" >/dev/full'),
    "stderr full": Shell('exec "$@" 2>/dev/full'),
    "both full": Shell('exec "$@" >/dev/full 2>&1'),
    "stdout read-only": Shell('exec "$@" 1</dev/null'),
    "stderr read-only": Shell('exec "$@" 2</dev/null'),
    "stderr the journal": Shell(f'{_JOURNAL}; exec "$@"'),
    "the journal, and then stderr closed": Shell(f'{_JOURNAL}; exec "$@" 2>&-'),
    "stdin write-only": Shell('exec "$@" 0>/dev/null'),
    "stdin a folder": Shell('exec "$@" <.', runs=False),  # the interpreter itself refuses to start
    "stdin without end": Shell('exec "$@" </dev/zero'),
    "more open than the three": Shell('exec "$@" 3</dev/null 4</dev/null 9</dev/null'),
}
"""The files behind descriptors 0 to 2. The test itself makes a pipe that nobody reads."""

LIMITS: Final[Mapping[str, Shell]] = {
    "14 descriptors": Shell('ulimit -n 14; exec "$@"', runs=False),
    "20 descriptors": Shell('ulimit -n 20; exec "$@"', runs=False),
    "64 descriptors": Shell('ulimit -n 64; exec "$@"'),
    "a soft limit of 64, a hard one above": Shell('ulimit -S -n 64; exec "$@"'),
    "a million descriptors": Shell('ulimit -n "$(ulimit -H -n)"; exec "$@"'),
    "no core": Shell('ulimit -c 0; exec "$@"'),
    "files of 1 MB": Shell('ulimit -f 2048; exec "$@"', runs=False),
    "files of 1 MB, and more if one asks": Shell('ulimit -S -f 2048; exec "$@"'),
    "a small stack": Shell('ulimit -s 512; exec "$@"'),
    "umask 000": Shell('umask 000; exec "$@"'),
    "umask 777": Shell('umask 777; exec "$@"', runs=IS_ROOT),
    "SIGPIPE ignored": Shell("trap '' PIPE; exec \"$@\""),
    "SIGHUP ignored, as by nohup": Shell("trap '' HUP; exec \"$@\""),
    "SIGINT ignored, as behind &": Shell("trap '' INT QUIT; exec \"$@\""),
    "nice": Shell('exec nice -n 19 "$@"'),
    "a folder that was removed": Shell('mkdir gone && cd gone && rmdir ../gone && exec "$@"'),
}
"""Limits and habits that a process inherits."""

HOSTS_THAT_HANG: Final = tuple(f"slow-{number}.invalid" for number in range(50))
"""Names that no name server answers; a test makes the look-up of each hang."""
