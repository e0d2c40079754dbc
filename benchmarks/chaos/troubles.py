"""Makes the troubles of a schedule happen to a stage."""

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
from benchmarks.chaos.nasty import Draw
from benchmarks.chaos.receivers import Mood, Receiver
from benchmarks.chaos.schedule import Kind, Trouble
from benchmarks.machine import now

HOUR_S: Final = 3600.0
TOKEN_REFUSED: Final = 4401


@dataclass(slots=True)
class Stage:
    """All that troubles can happen to. ``clock`` None: it cannot be set here."""

    simulator: Simulator
    projects: list[str]
    agents: list[Agent]
    moody: Receiver
    disk: Disk
    clock: ShiftedClock | None
    ledger: Ledger
    draw: Draw
    made: Counter[Kind] = field(default_factory=Counter)

    def agent(self, trouble: Trouble) -> Agent:
        """Whom it hits."""
        return self.agents[int(trouble.dice * len(self.agents))]

    def project(self, trouble: Trouble) -> str:
        """Which it hits."""
        return self.projects[int(trouble.dice * len(self.projects))]


async def make_all(stage: Stage, troubles: Iterable[Trouble]) -> None:
    """Each at its time; returns when the last is over."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for trouble in troubles:
            await trio.sleep_until(began + trouble.at_s)
            nursery.start_soon(_make, stage, trouble)


async def _make(stage: Stage, trouble: Trouble) -> None:
    await _MAKERS[trouble.kind](stage, trouble)
    stage.made[trouble.kind] += 1
    stage.ledger.trouble_ends.append(now())


async def _kill(stage: Stage, trouble: Trouble) -> None:
    await stage.agent(trouble).restart(signal.SIGKILL, trouble.dice)


async def _terminate(stage: Stage, trouble: Trouble) -> None:
    await stage.agent(trouble).restart(signal.SIGTERM, trouble.dice)


async def _reload(stage: Stage, trouble: Trouble) -> None:
    await stage.agent(trouble).reload()


async def _cut(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.drop(stage.project(trouble), reset=int(trouble.dice * 1000) % 2 == 0)


async def _stall(stage: Stage, trouble: Trouble) -> None:
    project = stage.project(trouble)
    stage.simulator.stall(project)
    await trio.sleep(trouble.lasts_s)
    stage.simulator.resume(project)


async def _restart(stage: Stage, trouble: Trouble) -> None:
    await stage.simulator.restart(trouble.lasts_s)


async def _expire(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.expire_tokens(refresh_tokens=trouble.dice < 0.5, close_code=TOKEN_REFUSED)


async def _fail_rest(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.fail_requests(1000)
    await trio.sleep(trouble.lasts_s)
    stage.simulator.fail_requests(0)


async def _repeat(stage: Stage, trouble: Trouble) -> None:
    stage.simulator.duplicate(1 + int(trouble.dice * 20))


async def _late(stage: Stage, trouble: Trouble) -> None:
    ended = [frame for frame in stage.simulator.world.history if frame["type"] in TERMINAL]
    if ended:
        chosen = ended[int(trouble.dice * len(ended))]
        moment = stage.draw.time(_a_second_later(chosen["timestamp"]))
        stage.simulator.send(chosen["projectId"], json.dumps({**chosen, "timestamp": moment}))


def _a_second_later(timestamp: str) -> str:
    return (datetime.fromisoformat(timestamp) + timedelta(seconds=1)).isoformat()


def _in_mood(mood: Mood) -> Callable[[Stage, Trouble], Awaitable[None]]:
    async def make(stage: Stage, trouble: Trouble) -> None:
        stage.moody.mood = mood
        await trio.sleep(trouble.lasts_s)
        # The latest mood counts where two overlap.
        if stage.moody.mood is mood:
            stage.moody.mood = Mood.WELL

    return make


async def _fill_disk(stage: Stage, trouble: Trouble) -> None:
    if stage.disk.can_fill:
        stage.disk.fill()
        await trio.sleep(trouble.lasts_s)
        stage.disk.empty()


async def _set_clock(stage: Stage, trouble: Trouble) -> None:
    if stage.clock is not None:
        stage.clock.set(HOUR_S if trouble.dice < 0.5 else -HOUR_S)
        await trio.sleep(trouble.lasts_s)
        stage.clock.set(0)


_MAKERS: Final[Mapping[Kind, Callable[[Stage, Trouble], Awaitable[None]]]] = {
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
    Kind.UNAVAILABLE: _in_mood(Mood.UNAVAILABLE),
    Kind.BUSY: _in_mood(Mood.BUSY),
    Kind.DEAF: _in_mood(Mood.DEAF),
    Kind.HANG_UP: _in_mood(Mood.HANG_UP),
    Kind.NASTY: _in_mood(Mood.NASTY),
    Kind.FULL_DISK: _fill_disk,
    Kind.CLOCK: _set_clock,
}
