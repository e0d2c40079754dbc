"""One run: set the stage, make the troubles, let everything settle, and close the account."""

import signal
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from aintandem_notify.simulator import open_simulator
from aintandem_notify_file_log import FileLog
from aintandem_notify_webhook import Webhook
from benchmarks.chaos.agents import Agent, surroundings, write_config
from benchmarks.chaos.clock import NoSuchClock, ShiftedClock
from benchmarks.chaos.disk import small_disk
from benchmarks.chaos.ledger import TERMINAL, Account, Arrival, Ledger, happening_of
from benchmarks.chaos.nasty import Draw
from benchmarks.chaos.receivers import Receiver
from benchmarks.chaos.schedule import Kind, schedule
from benchmarks.chaos.stores import kept_in, shared_store
from benchmarks.chaos.troubles import Stage, make_all
from benchmarks.chaos.world import SPEED, World
from benchmarks.figures import Say

IN_FLIGHT: Final[Mapping[str, int]] = {
    "webhook.steady": Webhook.in_flight,
    "webhook.moody": Webhook.in_flight,
    "file_log.audit": FileLog.in_flight,
}
"""The destinations, and how many deliveries of each a kill may catch on their way."""

EVENTS_PER_BEGINNING: Final = 5.5
"""What one thing that is begun leads to, on average."""
READY_S: Final = 600.0
"""Longest that all projects may take to be watched."""
QUIET_S: Final = 2.0
"""How long nothing more must come before the account is closed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. ``events`` None: as many as come about; ``kills`` None: as their pace has it."""

    seconds: float
    seed: int
    kinds: Collection[Kind] = tuple(Kind)
    kills: int | None = None
    events: int | None = None
    agents: int = 1
    projects: int = 8
    store: str | None = None
    settle_s: float = 900.0

    @property
    def rate(self) -> float:
        """Beginnings a second."""
        events = self.events or 250 * self.seconds
        return events / self.seconds / EVENTS_PER_BEGINNING


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    events: int
    matched: int
    kills: int
    starts: int
    peak_kb: int
    made: Mapping[Kind, int]
    accounts: tuple[Account, ...]
    wrong_ends: tuple[int, ...]
    tracebacks: int
    settled: bool

    def bound(self, account: Account) -> int:
        """The most repeats that the promise allows the destination."""
        return self.kills * IN_FLIGHT[account.destination]

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, in words."""
        found = []
        for account in self.accounts:
            name = account.destination
            if account.lost:
                found.append(f"{name}: lost {len(account.lost)}, such as {account.lost[:3]}")
            if account.repeats > self.bound(account):
                found.append(f"{name}: {account.repeats} came twice, {self.bound(account)} may")
            if account.told_twice:
                found.append(f"{name}: told twice of {len(account.told_twice)}, such as {account.told_twice[:3]}")
        if self.wrong_ends:
            found.append(f"agents ended with {sorted(self.wrong_ends)}")
        if self.tracebacks:
            found.append(f"{self.tracebacks} tracebacks in the logs")
        if not self.settled:
            found.append("not everything had arrived when the time to settle was over")
        return found


async def run(wish: Wish, say: Say, keep: Path | None = None) -> Outcome:
    """A whole run. ``keep`` is a folder for logs and stores; without it they go."""
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-chaos-")))
        shared = stack.enter_context(shared_store(wish.store, folder / "postgres"))
        disk = stack.enter_context(small_disk(folder / "disk", say))
        ledger = Ledger()
        async with trio.open_nursery() as nursery:
            hooks = {
                "steady": Receiver(_taker(ledger, "webhook.steady")),
                "moody": Receiver(_taker(ledger, "webhook.moody"), Draw(wish.seed, "answers")),
            }
            urls = {name: await nursery.start(hook.listen) for name, hook in hooks.items()}
            projects = [f"project-{number}" for number in range(wish.projects)]
            async with open_simulator(seed=wish.seed, speed=SPEED, projects=projects) as simulator:
                clock = _clock(folder, say) if Kind.CLOCK in wish.kinds else None
                stores = [shared or f"sqlite:///{disk.path}/agent-{n}.db" for n in range(wish.agents)]
                agents = []
                for number, store in enumerate(stores):
                    home = folder / f"agent-{number}"
                    write_config(home, url=simulator.url, store=store, hooks=urls, projects=projects)
                    agents.append(Agent(home, surroundings(home, clock.environ if clock else {}), ledger))
                draw = Draw(wish.seed, "times")
                stage = Stage(simulator, projects, agents, hooks["moody"], disk, clock, ledger, draw)
                async with _at_work(agents):
                    settled = await _play(stage, World(simulator, projects, ledger, wish.seed), wish, say)
            nursery.cancel_scope.cancel()
        return _close(stage, set(stores), settled)


def _taker(ledger: Ledger, destination: str) -> Any:
    def take(identity: str, event: dict[str, Any], at: float) -> None:
        if event["type"] in TERMINAL:
            ledger.arrivals[destination].append(Arrival(identity, happening_of(event), at))

    return take


def _clock(folder: Path, say: Say) -> ShiftedClock | None:
    try:
        return ShiftedClock(folder)
    except NoSuchClock as reason:
        say(f"the clock stays as it is: {reason}")
        return None


@asynccontextmanager
async def _at_work(agents: list[Agent]) -> AsyncIterator[None]:
    """The agents run inside the block, and end in order after it."""
    async with trio.open_nursery() as nursery:
        try:
            for agent in agents:
                await agent.start()
                nursery.start_soon(agent.watch)
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for agent in agents:
                    await agent.end(signal.SIGTERM)
                    agent.look()


async def _play(stage: Stage, world: World, wish: Wish, say: Say) -> bool:
    """Whether everything had arrived in the end."""
    with trio.fail_after(READY_S):
        for project in stage.projects:
            await stage.simulator.wait_subscribed(project)
        # What ends before a project is known to the store is nobody's news: first, one end of each arrives.
        await world.one_each()
        await _all_arrived(stage.ledger)
    say(f"{wish.seconds:.0f} s of trouble")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.produce, wish.rate, wish.events)
        await make_all(stage, schedule(wish.seed, wish.seconds, wish.kinds, wish.kills))
        world.stopped = wish.events is None
    say("waiting until everything has arrived")
    with trio.move_on_after(wish.settle_s):
        await _all_arrived(stage.ledger)
        await trio.sleep(QUIET_S)
        return True
    return False


async def _all_arrived(ledger: Ledger) -> None:
    while any(ledger.missing(name) for name in IN_FLIGHT):  # noqa: ASYNC110  # part of it is written by others
        await trio.sleep(0.1)


def _close(stage: Stage, stores: set[str], settled: bool) -> Outcome:
    kept = [kept_in(store) for store in stores]
    ledger, agents = stage.ledger, stage.agents
    return Outcome(
        events=stage.simulator.world.emitted,
        matched=len(ledger.due),
        kills=sum(agent.kills for agent in agents),
        starts=sum(agent.starts for agent in agents),
        peak_kb=max(agent.peak_kb for agent in agents),
        made=dict(stage.made),
        accounts=tuple(
            ledger.account(name, [one for found in kept for one in found.get(name, ())]) for name in IN_FLIGHT
        ),
        wrong_ends=tuple(code for agent in agents for code in agent.wrong_ends),
        tracebacks=sum(agent.tracebacks for agent in agents),
        settled=settled,
    )
