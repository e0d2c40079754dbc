"""Skips or fails a test whose program is not on the machine."""

import os
from typing import NoReturn

import pytest


def require_or_skip(reason: str) -> NoReturn:
    """Skip with ``reason``; where ``AINTANDEM_NOTIFY_REQUIRE_SERVICES=1`` promises that it is there, fail."""
    if os.environ.get("AINTANDEM_NOTIFY_REQUIRE_SERVICES") == "1":
        pytest.fail(f"required by AINTANDEM_NOTIFY_REQUIRE_SERVICES=1: {reason}")
    pytest.skip(reason)
