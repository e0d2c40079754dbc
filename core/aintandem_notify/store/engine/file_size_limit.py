"""How large a file of this process may become (``ulimit -f``): beyond it the disk is as if it were full."""

import sys
from typing import Final

if sys.platform != "win32":
    import resource

GROWTH_BYTES: Final = 64 * 1024 * 1024
"""Bytes that a store must be able to grow by; its WAL alone is folded into it at 32 MiB."""


def size_limit_problem(limit: int | None, size: int) -> str | None:
    """A sentence for the operator where a store of ``size`` bytes is so near the limit; else None."""
    if limit is None or limit >= size + GROWTH_BYTES:
        return None
    return (
        f"files of this process may have no more than {limit:,} bytes, and {size + GROWTH_BYTES:,} are needed: "
        "raise the limit with `ulimit -f`, or with LimitFSIZE= in a systemd unit"
    )


def raise_size_limit() -> int | None:
    """Let files become as large as they may; how many bytes that are, None where nothing limits them."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard
