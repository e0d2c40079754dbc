"""Installs the official SDK once for each session. Without it, these tests are skipped with the reason."""

import pytest
from benchmarks.official_sdk import SdkMissing, install_sdk, node

from support.services import require_or_skip


@pytest.fixture(scope="session", autouse=True)
def _official_sdk() -> None:
    try:
        node()
        install_sdk()
    except SdkMissing as reason:
        require_or_skip(str(reason))
