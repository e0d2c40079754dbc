"""With any response in the orchestrator's place, the states of the login and of the projects are right."""

from collections.abc import Mapping

import pytest
import trio

from aintandem_notify.config import ProjectConfig
from aintandem_notify.config.types.values import Secret
from aintandem_notify.errors import ApiError, HttpFailed
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.orchestrator import ConnectionTrouble, Login, LoginStatus, Session
from support.nasty import orchestrator_http as nasty
from support.nasty.wire import Then, WireAnswer
from support.raw_orchestrator import open_raw_orchestrator
from support.watching import arrivals, watching

ACCEPTED = {"a token that expires in the year 300,000", "a token that has expired"}
REFUSED = {
    *("401", "401 that asks for basic", "404", "409", "418 with an object as error"),
    *("no success, and a secret", "no success, and an object"),
    *(name for name in nasty.BODIES if name.startswith(("a token ", "an empty token", "the wrong types"))),
} - {*ACCEPTED, "a token of 1 MB"}
"""The answers that say whether a login succeeded, or are an error of an API. All others are of something else."""

REST_IS_RIGHT = "although its REST API knows the project: does a proxy in front of it pass WebSocket upgrades?"


def finite(answers: Mapping[str, WireAnswer]) -> list[str]:
    """The names of the answers that end; the others take the whole timeout of a request."""
    return [name for name, answer in answers.items() if answer.then not in (Then.SILENCE, Then.GO_ON)]


@pytest.mark.parametrize("name", [*finite(nasty.ANSWERS), "a body without end", "headers without end"])
async def test_the_login_says_whether_it_was_refused(name: str) -> None:
    async with open_raw_orchestrator() as raw, HttpClient() as http:
        answer = nasty.ANSWERS[name]
        raw.rest |= {"POST /api/auth/login": answer, "POST /auth/login": answer}
        refusals: list[str] = []
        session = Session(
            raw.url,
            Login("admin", Secret("admin123")),
            http=http,
            clock=SystemClock(),
            chance=lambda: 0.0,
            announce=lambda event: refusals.append(event.reason),
        )
        if name in ACCEPTED:
            assert await session.token()
            assert session.login_status == LoginStatus()
            return
        with pytest.raises((ApiError, HttpFailed)) as raised:
            await session.token()
        status = session.login_status
        assert status.reason == str(raised.value)
        assert (status.refused is not None, status.unreachable is None) == (name in REFUSED, name in REFUSED)
        assert status.since is not None
        assert refusals == ([status.refused] if name in REFUSED else [])


UPGRADES = {
    **nasty.UPGRADES,
    **nasty.REDIRECTS,
    **{name: nasty.ERRORS[name] for name in finite(nasty.ERRORS)},
    **{name: nasty.BODIES[name] for name in ("html", "null", "maintenance", "204")},
    **{name: nasty.BYTES[name] for name in finite(nasty.BYTES)},
}


async def test_a_project_says_why_it_has_no_link() -> None:
    ids = {f"p{number}": name for number, name in enumerate(UPGRADES)}
    projects = [ProjectConfig(id=project_id, name="x") for project_id in ids]
    async with open_raw_orchestrator(projects=list(ids)) as raw:
        raw.upgrades_by_project |= {project_id: UPGRADES[name] for project_id, name in ids.items()}
        async with watching(raw, *projects, reconnect_initial_delay=0.1, connect_timeout=5.0) as (fleet, journal):
            for project_id in ids:
                await journal.until(project_id, "connection_error")
            for status in fleet.snapshot():
                name = ids[status.project.id]
                is_refused = name.startswith(("401", "403"))
                expected = ConnectionTrouble.REFUSED if is_refused else ConnectionTrouble.LOST
                assert status.trouble is expected, name
                assert status.down_since is not None, name
                assert status.last_error, name
                assert (REST_IS_RIGHT in status.last_error) is name.startswith("404"), name
            raw.upgrades_by_project.clear()
            for project_id in ids:
                await journal.until(project_id, "connection_connected")
            assert {(status.trouble, status.down_since) for status in fleet.snapshot()} == {(None, None)}


async def test_a_login_that_fails_is_the_reason_at_each_project_from_the_beginning() -> None:
    async with open_raw_orchestrator() as raw:
        raw.delays["POST /api/auth/login"] = answered = trio.Event()
        raw.rest["POST /api/auth/login"] = nasty.ERRORS["503"]
        projects = ProjectConfig(id="a", name="A"), ProjectConfig(id="b"), ProjectConfig(id="c*")
        async with watching(raw, *projects) as (fleet, journal):
            assert sorted(status.project.id for status in fleet.snapshot()) == ["a", "b"]
            while not all(status.last_error for status in fleet.snapshot()):  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert not fleet.discovery().has_listed
            answered.set()
            await journal.until("a", "connection_error")
            (reason,) = {status.last_error for status in fleet.snapshot() if status.project.id == "a"}
            assert reason is not None
            assert "503" in reason
            while fleet.discovery().trouble is None:  # noqa: ASYNC110
                await trio.sleep(0.005)
            raw.rest.clear()
            await arrivals(raw, 2)
            while not fleet.discovery().has_listed:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert list(fleet.discovery().idle_globs) == ["c*"]
