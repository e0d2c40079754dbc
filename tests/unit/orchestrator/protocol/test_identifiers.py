"""Valid and invalid ids."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import MAX_ID_CHARACTERS, ConnectionConnectedEvent
from aintandem_notify.orchestrator.protocol.identifiers import InvalidId, validate_id
from aintandem_notify.orchestrator.rest.client import quote_id

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", ["project-123", "1", "...", "a/b", "ü ?#%", "x" * MAX_ID_CHARACTERS])
def test_valid_ids(value: str) -> None:
    assert validate_id(value) == value
    assert "/" not in quote_id(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "task_id is empty"),
        (".", "task_id cannot be '.': in a URL that means another folder"),
        ("..", "task_id cannot be '..'"),
        ("x" * (MAX_ID_CHARACTERS + 1), "task_id has 513 characters; at most 512 are allowed"),
        ("a\ud800", r"task_id holds a lone surrogate, which cannot be sent: 'a\\ud800'"),
    ],
)
def test_ids_that_no_url_can_hold(value: str, message: str) -> None:
    with pytest.raises(InvalidId, match=message):
        validate_id(value, "task_id")
    with pytest.raises(ValueError, match="the id "):
        quote_id(value)


@pytest.mark.parametrize("value", [None, 5, b"project", True])
def test_ids_that_are_not_a_str(value: object) -> None:
    with pytest.raises(TypeError, match=f"project_id should be a str, not {type(value).__name__}"):
        validate_id(value, "project_id")


@given(st.text())
def test_every_valid_id_fits_into_an_event(value: str) -> None:
    try:
        validate_id(value)
    except InvalidId:
        return
    event = ConnectionConnectedEvent(timestamp=MOMENT, project_id=value)
    assert event.project_id == value
