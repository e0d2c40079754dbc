"""A test whose program is missing is skipped where that may be, and fails where it was promised."""

import pytest

from support.services import require_or_skip


def test_it_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AINTANDEM_NOTIFY_REQUIRE_SERVICES", raising=False)

    with pytest.raises(pytest.skip.Exception, match="no such program"):
        require_or_skip("no such program")


def test_it_fails_with_the_reason_where_services_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINTANDEM_NOTIFY_REQUIRE_SERVICES", "1")

    with pytest.raises(pytest.fail.Exception, match="no such program"):
        require_or_skip("no such program")
