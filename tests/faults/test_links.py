"""Orchestrators that do not answer, refuse, fall silent, restart, or let tokens run out."""

from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

import trio

from aintandem_notify_webhook import Webhook
from support.fault_case import KIND, Case, descriptors, open_case
from support.fault_counts import Counts, Record
from support.raw_http import RestAnswer
from support.raw_orchestrator import Garbage, RawSocket, Refuse, Reset, Silence, UpgradeAnswer, WrongAccept

PROJECTS = tuple(f"project-{number}" for number in range(30))
SPARE_DESCRIPTORS = 20
"""File descriptors for REST requests and for files that are open briefly."""


def _connection(case: Case, setting: str) -> None:
    """One more connection setting. Short times must still be long enough for a busy machine."""
    _rewrite(case, "[connection]\n", f"[connection]\n{setting}\n")


def _pauses(case: Case, length: str) -> None:
    """The pauses before reconnects, from the first on."""
    _rewrite(case, 'reconnect_initial_delay = "50ms"', f'reconnect_initial_delay = "{length}"')
    _rewrite(case, 'reconnect_max_delay = "200ms"', f'reconnect_max_delay = "{length}"')


def _rewrite(case: Case, old: str, new: str) -> None:
    text = case.config.read_text(encoding="utf-8")
    assert old in text
    case.config.write_text(text.replace(old, new), encoding="utf-8")


async def test_every_wrong_answer_to_a_handshake_is_tried_again_once(tmp_path: Path) -> None:
    answers: list[UpgradeAnswer] = [
        WrongAccept(),
        Garbage(),
        Reset(),
        Refuse(302, {"location": "http://169.254.169.254/latest/meta-data"}),
        Refuse(500),
        Refuse(401),
        Refuse(401),
    ]
    async with open_case(tmp_path) as case:
        case.raw.upgrade_answers.extend(answers)
        case.configure()
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        assert len(case.raw.upgrades) == len(answers) + 1
        # The first refusal renewed the token, the second one logged in again.
        assert (len(case.raw.refreshes), len(case.raw.logins)) == (1, 2)


async def test_a_handshake_that_is_not_answered_is_tried_again(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.raw.upgrade_answers.append(Silence())
        case.configure()
        _rewrite(case, 'connect_timeout = "1m"', 'connect_timeout = "3s"')
        async with case.agent():
            await _fail_or_be_found(case, await case.connected(), "t1")
            await case.arrived()
        assert len(case.raw.upgrades) > 1


async def _fail_or_be_found(case: Case, socket: RawSocket, run: str) -> None:
    """A failure that is reported if the connection is alive: with short times, the agent may have closed it."""
    (text,) = case.miss(run)
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await socket.send_text(text)


async def test_a_forbidden_project_is_not_requested_again_and_again(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.raw.default_upgrade = Refuse(403)
        case.configure()
        _pauses(case, "30s")
        async with case.agent() as agent:
            await agent.wait_for_log("cannot connect")
            # Two new tokens are tried at once; then the pauses are ten times the first one and more.
            assert len(case.raw.upgrades) == 3


async def test_a_connection_that_fell_silent_is_replaced(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        _connection(case, 'heartbeat_interval = "1s"')
        async with case.agent() as agent:
            first = await case.connected()
            first.fall_silent()
            await agent.wait_for_log("disconnected")
            await first.closed.wait()
            await _fail_or_be_found(case, await case.connected(), "t1")
            await case.arrived()


async def test_a_missed_end_is_reported_once_even_with_a_late_live_event(
    tmp_path: Path,
) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent():
            await case.connected()
            await case.fail("t0")
            await case.arrived()
            await case.raw.go_away()
            missed = case.miss("t1", "t2")
            case.raw.come_back()
            socket = await case.connected()
            await case.arrived()
            for text in missed:
                await socket.send_text(text)
            await case.fail("t3")
            await case.arrived()
        assert case.caught_up() == {"t1", "t2"}
        assert sorted(case.webhook_runs()) == sorted(case.logged_runs()) == case.due


async def _connections(case: Case, projects: tuple[str, ...] = PROJECTS) -> dict[str, RawSocket]:
    """The next connections, by project; one for each."""
    sockets_list = [await case.connected() for _ in projects]
    assert sorted(socket.project_id for socket in sockets_list) == sorted(projects)
    return {socket.project_id: socket for socket in sockets_list}


async def _fail_in_each(case: Case, sockets: dict[str, RawSocket], run: str) -> None:
    """One failure in each project; all of them arrive."""
    for project, socket in sockets.items():
        case.due.append(f"{run}-{project}")
        await socket.send_event(KIND, taskId=f"{run}-{project}", error="x")
    await case.arrived()


async def test_one_refresh_serves_all_projects_and_one_that_fails_leads_to_a_login(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.max_descriptors += len(PROJECTS)
        case.configure(projects=PROJECTS)
        async with case.agent():
            await _expire(await _connections(case))
            await _fail_in_each(case, await _connections(case), "refreshed")
            assert (len(case.raw.refreshes), len(case.raw.logins)) == (1, 1)
            case.raw.rest["POST /api/auth/refresh"] = RestAnswer({"success": False, "error": "unknown"}, 401)
            await _expire({socket.project_id: socket for socket in case.raw.open_sockets})
            await _fail_in_each(case, await _connections(case), "logged-in")
            assert len(case.raw.logins) == 2


async def _expire(sockets: dict[str, RawSocket]) -> None:
    """The server closes all connections because their token has expired."""
    async with trio.open_nursery() as nursery:
        for socket in sockets.values():
            nursery.start_soon(socket.close, 4401)


async def test_a_kill_right_after_a_refresh_costs_one_login(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.raw.token_lifetime = 2.0
        case.configure()
        async with case.agent(ends=-9):
            await case.connected()
            await case.connected()
        await case.raw.until_left()  # frames that were sent before the kill may not have been read
        refreshes = len(case.raw.refreshes)
        case.raw.token_lifetime = 3600.0
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        assert refreshes > 0
        assert (len(case.raw.refreshes), len(case.raw.logins)) == (refreshes, 2)


async def test_many_projects_outlive_restarts_of_their_server(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    projects = tuple(f"project-{number}" for number in range(counts.projects))
    async with open_case(tmp_path, record) as case:
        case.max_descriptors += len(projects)
        case.configure(projects=projects)
        _pauses(case, f"{counts.reconnect_s * 1000:.0f}ms")
        async with case.agent(seconds=counts.seconds) as agent:
            sockets = await _connections(case, projects)
            open_before = len(descriptors(agent.process.pid))
            widths = []
            for _ in range(counts.restarts):
                await case.raw.go_away()
                for socket in sockets.values():
                    await socket.closed.wait()
                case.raw.come_back()
                sockets = await _connections(case, projects)
                widths.append(_width([socket.request.at for socket in sockets.values()]))
            await _fail_in_each(case, sockets, "last")
            assert len(case.raw.open_sockets) == len(projects)
            most = open_before + SPARE_DESCRIPTORS + Webhook.parallel
            assert len(descriptors(agent.process.pid)) <= most
        # One try for each project and restart, all with the token of one login, spread over time.
        assert len(case.raw.upgrades) == len(projects) * (counts.restarts + 1)
        assert (len(case.raw.logins), len(case.raw.refreshes)) == (1, 0)
        record(
            "count",
            f"{counts.restarts} restarts, {len(projects)} projects; "
            f"half of them back within {median(widths):.1f} s of {counts.reconnect_s:.1f} s",
        )
        assert max(widths) > counts.reconnect_s / 4


def _width(moments: list[float]) -> float:
    """Seconds in which the middle half of them arrived."""
    first, _, last = quantiles(moments, n=4)
    return last - first
