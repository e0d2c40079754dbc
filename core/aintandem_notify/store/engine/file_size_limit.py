"""The process's limit on file sizes (``ulimit -f``). A write beyond it fails as on a full disk."""

import sys
from typing import Final

if sys.platform != "win32":
    import resource

GROWTH_BYTES: Final = 64 * 1024 * 1024
"""Bytes that a store must be able to grow by. Its WAL alone reaches 32 MiB before a checkpoint."""


def size_limit_problem(limit: int | None, size: int) -> str | None:
    """A message for the operator if a store of ``size`` bytes has less than ``GROWTH_BYTES`` left; else None."""
    if limit is None or limit >= size + GROWTH_BYTES:
        return None
    return (
        f"files of this process may have no more than {limit:,} bytes, and {size + GROWTH_BYTES:,} are needed: "
        "raise the limit with `ulimit -f`, or with LimitFSIZE= in a systemd unit"
    )


def raise_size_limit() -> int | None:
    """Raises the soft limit to the hard one. Returns that limit in bytes; None where there is no limit."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard
