"""The typed error for every close code and status."""

import pytest

from aintandem_notify.errors import LinkLost, LinkRefused, OrchestratorError, ProjectGone
from aintandem_notify.orchestrator.link.close_codes import error_for_close, error_for_status

LOST_CODES = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]
REFUSED_CODES = [1008, 4001, 4401, 4403]
LOST_STATUSES = [200, 204, 301, 302, 307, 400, 402, 405, 408, 418, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("code", LOST_CODES)
def test_codes_after_which_we_try_again(code: int) -> None:
    error = error_for_close(code, "so it goes")
    assert isinstance(error, LinkLost)
    assert error.code == code
    assert f"({code}: so it goes)" in str(error)


@pytest.mark.parametrize("code", REFUSED_CODES)
def test_codes_of_a_refused_token(code: int) -> None:
    error = error_for_close(code)
    assert isinstance(error, LinkRefused)
    assert error.code == code


def test_the_code_of_a_missing_project() -> None:
    assert isinstance(error_for_close(4404), ProjectGone)


def test_a_reason_is_redacted() -> None:
    assert "eyJ" not in str(error_for_close(4401, "bad token=eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, LinkRefused),
        (403, LinkRefused),
        (404, ProjectGone),
        (410, ProjectGone),
        *((status, LinkLost) for status in LOST_STATUSES),
    ],
)
def test_statuses_of_a_refused_upgrade(status: int, kind: type[OrchestratorError]) -> None:
    error = error_for_status(status)
    assert type(error) is kind
    assert f"HTTP {status}" in str(error)
    assert not isinstance(error, LinkRefused) or error.code == status
