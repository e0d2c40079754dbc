"""With any response in the orchestrator's place, the agent stays alive, logs a clear sentence, and recovers."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import trio

from support.agent_process import AgentProcess
from support.fault_case import Case, open_case
from support.fault_counts import Counts
from support.nasty import orchestrator_http
from support.nasty.wire import Then
from support.raw_orchestrator import event_text, frame

SECRETS = ("pwcanary0123", "locationcanary01", "answercanary0123", "errorcanary0123")
STEERING = ("\x1b", "\x9b", "\x00")
"""Texts that no log line may contain unescaped."""

LISTS = ("/api/projects/{}/tasks", "/api/workflows/projects/{}/executions", "/api/flexy/projects/{}/operations")
"""The paths that are requested for a project after each connection, by its id."""


@asynccontextmanager
async def at_work(case: Case) -> AsyncIterator[AgentProcess]:
    async with case.agent() as agent:
        yield agent
    for text in (*SECRETS, *STEERING):
        assert text not in agent.everything, text


def named(answers: Mapping[str, object]) -> Mapping[str, str]:
    """A project id for each response, by the name of the response."""
    return {name: f"p{number}" for number, name in enumerate(answers)}


async def all_fail_and_arrive(case: Case, projects: Mapping[str, str]) -> None:
    """One live failure in each project, once all of them are connected."""
    while {socket.project_id for socket in case.raw.open_sockets} < set(projects.values()):  # noqa: ASYNC110
        await trio.sleep(0.05)
    for socket in case.raw.open_sockets:
        case.due.append(run := f"after-{socket.project_id}")
        await socket.send_bytes_raw(frame(event_text("task_failed", socket.project_id, taskId=run, error="x")))
    await case.arrived()


async def wait_for_requests(case: Case, paths: set[str], times: int = 1) -> None:
    """Returns when each of the paths has been requested so often."""
    while True:
        request_counts = Counter(request.path for request in case.raw.requests)
        if all(request_counts[path] >= times for path in paths):
            return
        await trio.sleep(0.05)


def tried_again(name: str) -> bool:
    """Whether the request is retried at once after this response."""
    return name in orchestrator_http.BYTES or name.startswith(("429", "5"))


async def test_every_answer_to_the_lists_of_rest(tmp_path: Path, counts: Counts) -> None:
    # A server that never responds takes the whole deadline each time, and retries pause in between.
    answers = {
        name: answer
        for number, (name, answer) in enumerate(orchestrator_http.ANSWERS.items())
        if answer.then is not Then.SILENCE and (number % 4 < counts.quarters or not tried_again(name))
    }
    projects = named(answers)
    async with open_case(tmp_path) as case:
        case.max_descriptors += 2 * len(projects)
        case.configure(projects=tuple(projects.values()))
        # In turn, so that each list gets responses of all kinds: all of them for each list would take three
        # times as long.
        paths = {path.format(project): name for path, (name, project) in zip(cycle(LISTS), projects.items())}
        case.raw.rest |= {f"GET {path}": answers[name] for path, name in paths.items()}
        async with at_work(case):
            await wait_for_requests(case, set(paths))
            for path in paths:
                case.raw.rest[f"GET {path}"] = []
            await all_fail_and_arrive(case, projects)


async def test_every_page_of_a_list(tmp_path: Path) -> None:
    projects = named(orchestrator_http.PAGES)
    async with open_case(tmp_path) as case:
        case.configure(projects=tuple(projects.values()))
        for name, page in orchestrator_http.PAGES.items():
            case.raw.rest[f"GET /api/projects/{projects[name]}/tasks"] = lambda request, page=page: page(
                request.query
            )
        async with at_work(case):
            await wait_for_requests(case, {f"/api/projects/{project}/tasks" for project in projects.values()})
            await all_fail_and_arrive(case, projects)


async def test_every_answer_to_the_upgrade(tmp_path: Path) -> None:
    answers = orchestrator_http.UPGRADES
    projects = named(answers)
    async with open_case(tmp_path) as case:
        case.configure(projects=tuple(projects.values()))
        case.raw.upgrades_by_project |= {projects[name]: answer for name, answer in answers.items()}
        async with at_work(case):
            while {request.path.rpartition("/")[2] for request in case.raw.upgrades} < set(projects.values()):  # noqa: ASYNC110
                await trio.sleep(0.05)
            case.raw.upgrades_by_project.clear()
        async with at_work(case):
            await all_fail_and_arrive(case, projects)
