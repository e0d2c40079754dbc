"""One run: sets up the agents, causes the faults, waits until everything settles, and counts the result."""

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
from benchmarks.chaos.agents import Agent, process_environment, write_config
from benchmarks.chaos.clock import ClockUnavailable, ShiftedClock
from benchmarks.chaos.disk import small_disk
from benchmarks.chaos.faults import Targets, run_all
from benchmarks.chaos.ledger import TERMINAL, Account, Arrival, Ledger, run_end_of
from benchmarks.chaos.nasty import RandomInputs
from benchmarks.chaos.receivers import Receiver
from benchmarks.chaos.schedule import Kind, schedule
from benchmarks.chaos.stores import shared_store, undelivered_in
from benchmarks.chaos.world import SPEED, World
from benchmarks.figures import LogProgress

IN_FLIGHT: Final[Mapping[str, int]] = {
    "webhook.steady": Webhook.parallel * Webhook.in_flight,
    "webhook.moody": Webhook.parallel * Webhook.in_flight,
    "file_log.audit": FileLog.parallel * FileLog.in_flight,
}
"""The destinations, and the number of deliveries of each that a kill may interrupt."""

EVENTS_PER_START: Final = 5.5
"""Events that each started run leads to, on average."""
READY_S: Final = 600.0
"""Seconds within which all projects must be watched."""
QUIET_S: Final = 2.0
"""Seconds to wait for repeats after the last arrival."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The settings of one run. ``events`` None sets no minimum; ``kills`` None uses their pace."""

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
        """Runs to start a second."""
        events = self.events or 250 * self.seconds
        return events / self.seconds / EVENTS_PER_START


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """The result of one run."""

    events: int
    matched: int
    kills: int
    starts: int
    peak_kb: int
    fault_counts: Mapping[Kind, int]
    accounts: tuple[Account, ...]
    unexpected_exits: tuple[int, ...]
    tracebacks: int
    settled: bool

    def bound(self, account: Account) -> int:
        """The number of repeats that the promise allows for the destination."""
        return self.kills * IN_FLIGHT[account.destination]

    @property
    def violations(self) -> list[str]:
        """The broken promises, in words."""
        violations = []
        for account in self.accounts:
            name = account.destination
            if account.lost:
                violations.append(f"{name}: lost {len(account.lost)}, such as {account.lost[:3]}")
            if account.repeats > self.bound(account):
                violations.append(f"{name}: {account.repeats} came twice, {self.bound(account)} may")
            if account.notified_twice:
                violations.append(
                    f"{name}: told twice of {len(account.notified_twice)}, such as {account.notified_twice[:3]}"
                )
        if self.unexpected_exits:
            violations.append(f"agents ended with {sorted(self.unexpected_exits)}")
        if self.tracebacks:
            violations.append(f"{self.tracebacks} tracebacks in the logs")
        if not self.settled:
            violations.append("not everything had arrived when the time to settle was over")
        return violations


async def run(settings: RunSettings, log_progress: LogProgress, keep: Path | None = None) -> ChaosResult:
    """Make a run. ``keep`` is a folder for logs and stores; without it they are deleted."""
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aintandem-chaos-")))
        shared = stack.enter_context(shared_store(settings.store, folder / "postgres"))
        disk = stack.enter_context(small_disk(folder / "disk", log_progress))
        ledger = Ledger()
        async with trio.open_nursery() as nursery:
            hooks = {
                "steady": Receiver(_arrival_recorder(ledger, "webhook.steady")),
                "moody": Receiver(
                    _arrival_recorder(ledger, "webhook.moody"), RandomInputs(settings.seed, "answers")
                ),
            }
            urls = {name: await nursery.start(hook.listen) for name, hook in hooks.items()}
            projects = [f"project-{number}" for number in range(settings.projects)]
            async with open_simulator(seed=settings.seed, speed=SPEED, projects=projects) as simulator:
                clock = _clock(folder, log_progress) if Kind.CLOCK in settings.kinds else None
                stores = [shared or f"sqlite:///{disk.path}/agent-{n}.db" for n in range(settings.agents)]
                agents = []
                for number, store in enumerate(stores):
                    home = folder / f"agent-{number}"
                    write_config(home, url=simulator.url, store=store, hooks=urls, projects=projects)
                    agents.append(Agent(home, process_environment(home, clock.environ if clock else {}), ledger))
                random_inputs = RandomInputs(settings.seed, "times")
                targets = Targets(simulator, projects, agents, hooks["moody"], disk, clock, ledger, random_inputs)
                async with _running(agents):
                    settled = await _run_faults(
                        targets, World(simulator, projects, ledger, settings.seed), settings, log_progress
                    )
            nursery.cancel_scope.cancel()
        return _result(targets, set(stores), settled)


def _arrival_recorder(ledger: Ledger, destination: str) -> Any:
    def on_delivery(identity: str, event: dict[str, Any], at: float) -> None:
        if event["type"] in TERMINAL:
            ledger.arrivals[destination].append(Arrival(identity, run_end_of(event), at))

    return on_delivery


def _clock(folder: Path, log_progress: LogProgress) -> ShiftedClock | None:
    try:
        return ShiftedClock(folder)
    except ClockUnavailable as reason:
        log_progress(f"the clock stays as it is: {reason}")
        return None


@asynccontextmanager
async def _running(agents: list[Agent]) -> AsyncIterator[None]:
    """Run the agents during the block, and shut them down after it."""
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
                    agent.sample()


async def _run_faults(targets: Targets, world: World, settings: RunSettings, log_progress: LogProgress) -> bool:
    """Cause the faults. Returns whether everything has arrived in the end."""
    with trio.fail_after(READY_S):
        for project in targets.projects:
            await targets.simulator.wait_subscribed(project)
        # Runs that end before the store knows their project are not reported: first, one end of each arrives.
        await world.run_one_each()
        await _wait_all_arrived(targets.ledger)
    log_progress(f"{settings.seconds:.0f} s of faults")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.produce, settings.rate, settings.events)
        await run_all(targets, schedule(settings.seed, settings.seconds, settings.kinds, settings.kills))
        world.stopped = settings.events is None
    log_progress("waiting until everything has arrived")
    with trio.move_on_after(settings.settle_s):
        await _wait_all_arrived(targets.ledger)
        await trio.sleep(QUIET_S)
        return True
    return False


async def _wait_all_arrived(ledger: Ledger) -> None:
    while any(ledger.missing(name) for name in IN_FLIGHT):  # noqa: ASYNC110  # other tasks write the ledger
        await trio.sleep(0.1)


def _result(targets: Targets, stores: set[str], settled: bool) -> ChaosResult:
    stores_undelivered = [undelivered_in(store) for store in stores]
    ledger, agents = targets.ledger, targets.agents
    return ChaosResult(
        events=targets.simulator.world.emitted,
        matched=len(ledger.due),
        kills=sum(agent.kills for agent in agents),
        starts=sum(agent.starts for agent in agents),
        peak_kb=max(agent.peak_kb for agent in agents),
        fault_counts=dict(targets.fault_counts),
        accounts=tuple(
            ledger.account(name, [end for undelivered in stores_undelivered for end in undelivered.get(name, ())])
            for name in IN_FLIGHT
        ),
        unexpected_exits=tuple(code for agent in agents for code in agent.unexpected_exits),
        tracebacks=sum(agent.tracebacks for agent in agents),
        settled=settled,
    )
