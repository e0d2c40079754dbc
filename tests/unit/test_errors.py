import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from aintandem_notify import errors
from aintandem_notify.domain.events import TaskFailedEvent
from aintandem_notify.errors import Problem


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("cannot be read"), "config.toml: cannot be read"),
        (Problem("unknown key", "plugins.slack"), "config.toml: plugins.slack: unknown key"),
        (Problem("unknown key", "plugins.slack", 14), "config.toml:14: plugins.slack: unknown key"),
        (Problem("expected a value", line=3), "config.toml:3: expected a value"),
    ],
)
def test_a_problem_says_where_it_is_as_far_as_that_is_known(problem: Problem, line: str) -> None:
    assert problem.describe("config.toml") == line


def test_a_config_error_says_every_problem_on_a_line_of_its_own() -> None:
    error = errors.ConfigError([Problem("one", "a", 1), Problem("two", "b")], "c.toml")

    assert str(error) == "c.toml:1: a: one\nc.toml: b: two"
    assert [problem.message for problem in error.problems] == ["one", "two"]
    assert error.source == "c.toml"


@pytest.mark.parametrize(
    ("code", "details", "text"),
    [
        ("NOT_FOUND", {"id": "p1"}, "no such project (HTTP 404, NOT_FOUND)"),
        ("", None, "no such project (HTTP 404)"),
    ],
)
def test_an_api_error_keeps_code_status_and_details(
    code: str, details: dict[str, object] | None, text: str
) -> None:
    error = errors.NotFound("no such project", status=404, code=code, details=details)

    assert str(error) == text
    assert (error.status, error.code, error.details) == (404, code, details or {})


def test_server_trouble_knows_when_to_come_back() -> None:
    assert errors.ServerTrouble("busy", status=429, retry_after=3.5).retry_after == 3.5
    assert errors.ServerTrouble("down", status=503).retry_after is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.LinkLost("reset by peer"), "reset by peer"),
        (errors.LinkRefused("token expired", 4401), "token expired"),
        (errors.HttpFailed("no DNS entry"), "no DNS entry"),
        (errors.PluginError("slack", "cannot be imported"), "slack: cannot be imported"),
        (errors.RetryLater("busy", after=3.0), "busy"),
        (errors.DestinationBroken("revoked"), "revoked"),
        (errors.Rejected("too long"), "too long"),
        (errors.PluginNotReady(), ""),
        (errors.LinkGivenUp("nobody listens"), "nobody listens"),
        (errors.NotLoggedIn(), "nobody is logged in; call client.auth.login first"),
        (errors.TaskFailed("p", "t-1", reason="disk full"), "task t-1 failed: disk full"),
        (errors.TaskCancelled("p", "t-1"), "task t-1 was cancelled"),
    ],
)
def test_every_error_reads_as_its_reason(error: errors.AInTandemNotifyError, text: str) -> None:
    assert str(error) == text


def test_the_attributes_of_errors_have_safe_defaults() -> None:
    assert errors.LinkLost("cut").code == 1006
    assert errors.HttpFailed("cut").maybe_sent is False
    assert errors.HttpFailed("cut", maybe_sent=True).maybe_sent is True
    assert errors.RetryLater("busy").after is None


FAILURE = TaskFailedEvent(timestamp=datetime(2026, 1, 1, tzinfo=UTC), project_id="p", task_id="t-1")
EVERY_KIND = [
    errors.ConfigError([Problem("unknown key", "plugins", 3)], "c.toml"),
    errors.StoreFull("no room"),
    errors.LinkLost("cut", 1001),
    errors.LinkGivenUp("nobody listens"),
    errors.LinkRefused("token expired", 4401),
    errors.ProjectGone("no such project").about("p"),
    errors.Disconnected("left"),
    errors.NotFound("no such task", status=404, code="TASK_NOT_FOUND", details={"id": "t-1"}),
    errors.NotLoggedIn(),
    errors.ServerTrouble("busy", status=429, retry_after=3.5),
    errors.TaskFailed("p", "t-1", reason="disk full", events=[FAILURE]),
    errors.TaskCancelled("p", "t-1"),
    errors.TokenStoreError("cannot read"),
    errors.HttpFailed("no DNS", maybe_sent=True),
    errors.PluginError("slack", "cannot be imported"),
    errors.RetryLater("busy", after=3.0),
    errors.PluginNotReady(),
]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", EVERY_KIND, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied_and_sent_to_another_process(
    error: errors.AInTandemNotifyError, again: Callable[[Any], Any]
) -> None:
    other = again(error)
    assert (type(other), str(other), other.args) == (type(error), str(error), error.args)
    assert vars(other) == vars(error)


def test_an_error_about_a_project_is_the_same_with_its_name() -> None:
    refused = errors.LinkRefused("token expired", 4401)
    named = refused.about("p-1")
    assert isinstance(named, errors.LinkRefused)
    assert (str(named), named.project_id, named.code) == ("project p-1: token expired", "p-1", 4401)
    assert (str(refused), refused.project_id) == ("token expired", None)


TREE: dict[type[BaseException], list[type[BaseException]]] = {
    errors.AInTandemNotifyError: [
        errors.ConfigError,
        errors.StoreError,
        errors.OrchestratorError,
        errors.TaskEnded,
        errors.TokenStoreError,
        errors.HttpFailed,
        errors.PluginError,
        errors.Outcome,
    ],
    errors.StoreError: [
        errors.StoreFull,
        errors.StoreDamaged,
        errors.StoreInUse,
        errors.StatementFailed,
        errors.MembershipLost,
        errors.TransactionConflict,
    ],
    errors.OrchestratorError: [
        errors.LinkLost,
        errors.LinkRefused,
        errors.ProjectGone,
        errors.Disconnected,
        errors.ApiError,
    ],
    errors.LinkLost: [errors.LinkGivenUp],
    errors.AuthenticationFailed: [errors.NotLoggedIn],
    errors.TaskEnded: [errors.TaskFailed, errors.TaskCancelled],
    errors.ApiError: [
        errors.AuthenticationFailed,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.InvalidRequest,
        errors.ServerTrouble,
    ],
    errors.Outcome: [errors.RetryLater, errors.DestinationBroken, errors.Rejected, errors.PluginNotReady],
}


@pytest.mark.parametrize(("parent", "children"), TREE.items())
def test_the_tree_in_the_docstring_is_the_tree_in_the_code(
    parent: type[BaseException], children: list[type[BaseException]]
) -> None:
    ours = {child for child in parent.__subclasses__() if child.__module__ == errors.__name__}
    assert ours == set(children)
    assert errors.__doc__ is not None
    for child in children:
        assert child.__name__ in errors.__doc__
