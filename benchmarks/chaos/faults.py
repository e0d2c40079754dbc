"""Causes the faults of a schedule."""

import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import trio

from aintandem_notify.simulator.simulation import Simulator
from benchmarks.chaos.agents import Agent
from benchmarks.chaos.clock import ShiftedClock
from benchmarks.chaos.disk import Disk
from benchmarks.chaos.ledger import TERMINAL, Ledger
from benchmarks.chaos.nasty import RandomInputs
from benchmarks.chaos.receivers import Receiver, ReceiverMode
from benchmarks.chaos.schedule import Fault, Kind
from benchmarks.machine import now

HOUR_S: Final = 3600.0
TOKEN_REFUSED: Final = 4401


@dataclass(slots=True)
class Targets:
    """The targets of faults. ``clock`` is None if it cannot be set on this machine."""

    simulator: Simulator
    projects: list[str]
    agents: list[Agent]
    moody: Receiver
    disk: Disk
    clock: ShiftedClock | None
    ledger: Ledger
    random_inputs: RandomInputs
    fault_counts: Counter[Kind] = field(default_factory=Counter)

    def agent(self, fault: Fault) -> Agent:
        """The agent that the fault affects."""
        return self.agents[int(fault.random_value * len(self.agents))]

    def project(self, fault: Fault) -> str:
        """The project that the fault affects."""
        return self.projects[int(fault.random_value * len(self.projects))]


async def run_all(targets: Targets, faults: Iterable[Fault]) -> None:
    """Cause each fault at its time. Returns once the last has ended."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for fault in faults:
            await trio.sleep_until(began + fault.at_s)
            nursery.start_soon(_run_fault, targets, fault)


async def _run_fault(targets: Targets, fault: Fault) -> None:
    await _RUNNERS[fault.kind](targets, fault)
    targets.fault_counts[fault.kind] += 1
    targets.ledger.fault_ends.append(now())


async def _kill(targets: Targets, fault: Fault) -> None:
    await targets.agent(fault).restart(signal.SIGKILL, fault.random_value)


async def _terminate(targets: Targets, fault: Fault) -> None:
    await targets.agent(fault).restart(signal.SIGTERM, fault.random_value)


async def _reload(targets: Targets, fault: Fault) -> None:
    await targets.agent(fault).reload()


async def _cut(targets: Targets, fault: Fault) -> None:
    targets.simulator.drop(targets.project(fault), reset=int(fault.random_value * 1000) % 2 == 0)


async def _stall(targets: Targets, fault: Fault) -> None:
    project = targets.project(fault)
    targets.simulator.stall(project)
    await trio.sleep(fault.duration_s)
    targets.simulator.resume(project)


async def _restart(targets: Targets, fault: Fault) -> None:
    await targets.simulator.restart(fault.duration_s)


async def _expire(targets: Targets, fault: Fault) -> None:
    targets.simulator.expire_tokens(refresh_tokens=fault.random_value < 0.5, close_code=TOKEN_REFUSED)


async def _fail_rest(targets: Targets, fault: Fault) -> None:
    targets.simulator.fail_requests(1000)
    await trio.sleep(fault.duration_s)
    targets.simulator.fail_requests(0)


async def _repeat(targets: Targets, fault: Fault) -> None:
    targets.simulator.duplicate(1 + int(fault.random_value * 20))


async def _late(targets: Targets, fault: Fault) -> None:
    ended = [frame for frame in targets.simulator.world.history if frame["type"] in TERMINAL]
    if ended:
        chosen = ended[int(fault.random_value * len(ended))]
        moment = targets.random_inputs.time(_a_second_later(chosen["timestamp"]))
        targets.simulator.send(chosen["projectId"], json.dumps({**chosen, "timestamp": moment}))


def _a_second_later(timestamp: str) -> str:
    return (datetime.fromisoformat(timestamp) + timedelta(seconds=1)).isoformat()


def _with_mode(mode: ReceiverMode) -> Callable[[Targets, Fault], Awaitable[None]]:
    async def make(targets: Targets, fault: Fault) -> None:
        targets.moody.mode = mode
        await trio.sleep(fault.duration_s)
        # The latest mood counts where two overlap.
        if targets.moody.mode is mode:
            targets.moody.mode = ReceiverMode.HEALTHY

    return make


async def _fill_disk(targets: Targets, fault: Fault) -> None:
    if targets.disk.can_fill:
        targets.disk.fill()
        await trio.sleep(fault.duration_s)
        targets.disk.empty()


async def _set_clock(targets: Targets, fault: Fault) -> None:
    if targets.clock is not None:
        targets.clock.set(HOUR_S if fault.random_value < 0.5 else -HOUR_S)
        await trio.sleep(fault.duration_s)
        targets.clock.set(0)


_RUNNERS: Final[Mapping[Kind, Callable[[Targets, Fault], Awaitable[None]]]] = {
    Kind.KILL: _kill,
    Kind.TERMINATE: _terminate,
    Kind.RELOAD: _reload,
    Kind.CUT: _cut,
    Kind.STALL: _stall,
    Kind.RESTART: _restart,
    Kind.EXPIRE: _expire,
    Kind.REST: _fail_rest,
    Kind.REPEAT: _repeat,
    Kind.LATE: _late,
    Kind.UNAVAILABLE: _with_mode(ReceiverMode.UNAVAILABLE),
    Kind.BUSY: _with_mode(ReceiverMode.BUSY),
    Kind.SILENT: _with_mode(ReceiverMode.SILENT),
    Kind.HANG_UP: _with_mode(ReceiverMode.HANG_UP),
    Kind.NASTY: _with_mode(ReceiverMode.NASTY),
    Kind.FULL_DISK: _fill_disk,
    Kind.CLOCK: _set_clock,
}
