"""PgBouncer, a pooler, between the tests and their PostgreSQL server; on a socket of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

from support.services import require_or_skip

_CONFIG: Final = """\
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = any
pool_mode = {pool_mode}
default_pool_size = {pool_size}
server_round_robin = {round_robin}
query_wait_timeout = 600
"""

_ROOT_IS_NO_USER: Final = "embedded_postgres"
"""The user of the server if the tests run as root, whom PgBouncer refuses to run as."""


@contextmanager
def pooled(url: str, pool_mode: str, *, pool_size: int = 20, round_robin: bool = False) -> Iterator[str]:
    """Yields the url of the database at ``url`` through a pooler. Skips the test without PgBouncer."""
    # Debian installs it for services only, which the PATH of most users leaves out.
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        require_or_skip("pgbouncer is not installed")
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory(prefix="bouncer") as folder:
        config = Path(folder) / "pgbouncer.ini"
        settings = _CONFIG.format(
            server=parse_qs(parts.query)["host"][0],
            folder=folder,
            pool_mode=pool_mode,
            pool_size=pool_size,
            round_robin=int(round_robin),
        )
        config.write_text(settings, encoding="utf-8")
        command = [program, str(config)]
        if os.geteuid() == 0:
            shutil.chown(folder, _ROOT_IS_NO_USER)
            command += ["--user", _ROOT_IS_NO_USER]
        with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
            assert process.stderr is not None
            try:
                log = ""
                while "process up" not in log:
                    line = process.stderr.readline()
                    assert line, log
                    log += line
                yield urlunsplit(parts._replace(query=f"host={folder}&port=6432"))
            finally:
                process.kill()
