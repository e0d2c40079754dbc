"""The meaning of responses, by status and by code; lists are read tolerantly."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.errors import (
    ApiError,
    AuthenticationFailed,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerTrouble,
)
from aintandem_notify.foundation.untrusted_json import MAX_VALUES
from aintandem_notify.http_client import HttpAnswer
from aintandem_notify.orchestrator.protocol.responses import (
    MAX_MESSAGE_LENGTH,
    ResponseTooLarge,
    error_for_response,
    find_rows,
    parse_response,
)
from aintandem_notify.orchestrator.rest.records import ProjectRecord, TaskRecord, parse_records

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(status: int, content: Any = None, **headers: str) -> HttpAnswer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return HttpAnswer(status, headers, body)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "VALIDATION_ERROR", InvalidRequest),
        (400, "MISSING_REQUIRED_FIELD", InvalidRequest),
        (400, "INVALID_VALUE", InvalidRequest),
        (400, "INVALID_STATUS", InvalidRequest),
        (400, "UNAUTHORIZED", AuthenticationFailed),
        (400, "AUTHENTICATION_FAILED", AuthenticationFailed),
        (400, "FORBIDDEN", Forbidden),
        (400, "NOT_FOUND", NotFound),
        (400, "TASK_NOT_FOUND", NotFound),
        (400, "CONFLICT", Conflict),
        (400, "ALREADY_EXISTS", Conflict),
        (400, "WORKFLOW_IN_USE", Conflict),
        (400, "", InvalidRequest),
        (401, "", AuthenticationFailed),
        (401, "NOT_FOUND", AuthenticationFailed),
        (403, "", Forbidden),
        (404, "", NotFound),
        (410, "", NotFound),
        (409, "", Conflict),
        (418, "", InvalidRequest),
        (408, "", ServerTrouble),
        (425, "", ServerTrouble),
        (429, "", ServerTrouble),
        (500, "INTERNAL_ERROR", ServerTrouble),
        (500, "OPERATION_FAILED", ServerTrouble),
        (500, "NOT_FOUND", ServerTrouble),
        (599, "", ServerTrouble),
        (302, "", ApiError),
    ],
)
def test_errors_are_typed(status: int, code: str, kind: type[ApiError]) -> None:
    error = error_for_response(answer(status, {"error": "so it goes", "code": code, "details": {"a": 1}}), NOW)
    assert type(error) is kind
    assert (error.status, error.code, error.details, error.message) == (status, code, {"a": 1}, "so it goes")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"text"',
        b'{"error": 5}',
        b'{"code": 7, "details": []}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_any_other_body_is_tolerated(body: bytes) -> None:
    error = error_for_response(answer(404, body), NOW)
    assert type(error) is NotFound
    assert error.message == "the orchestrator answered with an error"
    assert error.code == ""


@pytest.mark.parametrize("body", [{"message": "m"}, {"error": {"message": "m"}}, {"error": " m\n"}])
def test_messages_are_found(body: Any) -> None:
    assert error_for_response(answer(400, body), NOW).message == "m"


def test_messages_are_short_and_without_secrets() -> None:
    text = "token=eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl " + "x" * 10_000
    message = error_for_response(answer(400, {"error": text}), NOW).message
    assert MAX_MESSAGE_LENGTH - len(text.split()[0]) < len(message) <= MAX_MESSAGE_LENGTH
    assert "eyJ" not in message


def test_trouble_says_when_to_come_back() -> None:
    error = error_for_response(answer(503, {}, **{"retry-after": "7"}), NOW)
    assert isinstance(error, ServerTrouble)
    assert error.retry_after == 7.0


def test_contents() -> None:
    assert parse_response(answer(200, {"a": [1]}), NOW) == {"a": [1]}
    assert parse_response(answer(204, b""), NOW) is None
    with pytest.raises(ApiError, match="not JSON"):
        parse_response(answer(200, b"<html>"), NOW)
    with pytest.raises(ResponseTooLarge, match="more than 5 bytes"):
        parse_response(HttpAnswer(200, {}, b"[1, 2", truncated=True), NOW)
    with pytest.raises(ResponseTooLarge, match="too many values"):
        parse_response(HttpAnswer(200, {}, b"[" + b"[]," * MAX_VALUES + b"1]"), NOW)
    with pytest.raises(ApiError, match="unexpected status"):
        parse_response(answer(302, b""), NOW)


ROW = {"id": "a"}


@pytest.mark.parametrize(
    "content",
    [
        [ROW],
        {"tasks": [ROW]},
        {"total": 1, "tasks": [ROW]},
        {"items": [ROW]},
        {"whatever": [ROW]},
        {"tasks": {"items": [ROW]}},
        {"success": True, "data": {"tasks": [ROW]}},
        {"others": [{"id": "b"}], "tasks": [ROW]},
    ],
)
def test_lists_are_found(content: Any) -> None:
    assert find_rows(content, "tasks") == [ROW]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_an_answer_has_a_list_or_says_nothing(content: Any) -> None:
    with suppress(ApiError):
        assert isinstance(find_rows(content, "tasks"), list)


@pytest.mark.parametrize("content", [None, "", 7, "maintenance", {}, {"status": "maintenance"}, {"tasks": {}}])
def test_an_answer_without_a_list_is_no_empty_list(content: Any) -> None:
    with pytest.raises(ApiError, match="holds no list of tasks"):
        find_rows(content, "tasks")


@pytest.mark.parametrize("content", [[], {"tasks": []}, {"tasks": None, "total": 0}, {"data": None}])
def test_an_empty_list_is_one(content: Any) -> None:
    assert find_rows(content, "tasks") == []


def test_records_are_read_tolerantly() -> None:
    rows: list[dict[str, Any]] = [
        {
            "taskId": 7,
            "status": "completed",
            "createdAt": "2026-01-01T00:00:00Z",
            "completedAt": "never",
            "error": {"code": 1},
            "unknown": True,
        },
        {"status": "no id"},
        {"id": ""},
        {"id": ["a"]},
    ]
    (task,) = parse_records(TaskRecord, rows)
    assert (task.id, task.status, task.created_at, task.completed_at) == ("7", "completed", NOW, None)
    assert task.error == '{"code": 1}'
    assert task.model_extra == {"unknown": True}


def test_projects_have_an_id_and_perhaps_a_name() -> None:
    projects = parse_records(ProjectRecord, [{"projectId": "a"}, {"id": "b", "name": "B"}])
    assert [(project.id, project.name) for project in projects] == [("a", None), ("b", "B")]
