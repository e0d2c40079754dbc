"""Somebody sets the clock of the machine while the agent runs, and sets it right again."""

import time
from pathlib import Path

from support.agent_process import AgentProcess
from support.fault_case import Case, open_case, processor_seconds
from support.shifted_clock import shifted_clock

HOUR = 3600
YEAR = 365 * 24 * HOUR
MOST_WORK_S = 1.0
"""Processor time for a handful of events; a loop that spins takes all there is."""


async def _wait_behind_a_busy_receiver(case: Case, agent: AgentProcess) -> float:
    """Two failures are queued and the first was put off for a second; the processor time used until then."""
    await case.connected()
    await case.fail("t0", "t1")
    await case.written()
    await agent.wait_for_log("backing off")
    return processor_seconds(agent.process.pid)


async def test_an_hour_back_delays_nothing_and_spins_nothing(tmp_path: Path) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path) as case:
        case.configure()
        # The receiver's clock is right, and so it would take no signature that is an hour old.
        case.webhook.secret = None
        case.webhook.fail_with(503, retry_after="1")
        async with case.agent(environ=clock.environ) as agent:
            used = await _wait_behind_a_busy_receiver(case, agent)
            clock.set(-HOUR)
            await case.fail("t2")
            await case.arrived()
            clock.set(0)
            await case.fail("t3")
            await case.arrived()
            assert processor_seconds(agent.process.pid) - used < MOST_WORK_S
        assert sorted(case.webhook_runs()) == sorted(case.due)


async def test_a_year_forward_gives_nothing_up_and_spins_nothing(tmp_path: Path) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path) as case:
        case.configure()
        case.webhook.secret = None
        case.webhook.fail_with(503, retry_after="1")
        async with case.agent(environ=clock.environ) as agent:
            used = await _wait_behind_a_busy_receiver(case, agent)
            clock.set(YEAR)
            await case.fail("t2")
            await case.arrived()
            # Deliveries that were due in a year are due now.
            clock.set(0)
            await case.fail("t3")
            await case.arrived()
            assert processor_seconds(agent.process.pid) - used < MOST_WORK_S
        assert sorted(case.webhook_runs()) == sorted(case.due)


async def test_a_year_forward_hides_no_later_gap(tmp_path: Path) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path) as case:
        case.configure()
        case.webhook.secret = None
        async with case.agent(environ=clock.environ) as agent:
            await case.connected()
            await agent.wait_for_log("connected")
            clock.set(YEAR)
            await case.fail("t0")
            await case.arrived()
        # Noted as the link ended: later events are to be looked up.
        ((seen_until,),) = case.stored("SELECT seen_until FROM projects")
        assert seen_until < (time.time() + 2 * HOUR) * 1_000_000
        clock.set(0)
        case.miss("t1")
        async with case.agent(environ=clock.environ):
            await case.arrived()
