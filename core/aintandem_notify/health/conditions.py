"""Finds every condition in which the agent is not well, from the facts that its parts give. Pure.

A condition may be too short to matter yet: ``episodes`` decides when it becomes a reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.delivery import DestinationCondition
from aintandem_notify.delivery.gate import HELD_STATES, GateState
from aintandem_notify.domain.health import ReasonId
from aintandem_notify.domain.reload import RefusedReload
from aintandem_notify.foundation.loop_watchdog import NO_TIME, Block
from aintandem_notify.foundation.printable import escape
from aintandem_notify.orchestrator import (
    ConnectionState,
    DiscoveryStatus,
    LoginStatus,
    ProjectStatus,
    UnwatchedProjects,
)
from aintandem_notify.plugins import InstanceState, InstanceStatus
from aintandem_notify.store import GivenUp, LivenessReport, QueueStats, StoreStatus

MIN_BLOCK_S: Final = 10.0
"""Seconds from which a blocked loop matters if no plugin did it. On a busy machine all is late at times."""

BLOCK_SHOWN_S: Final = 10.0
"""Seconds for which a blocked loop is shown at least after its end."""

PAUSED: Final = "paused"
"""The label of a destination that is paused by hand, whatever its other state."""

MAX_LISTED: Final = 3
"""Number of names that a sentence lists; it counts the others."""

Key = tuple[ReasonId, str | None]
"""A kind of trouble and its subject: at most one condition has them at a time."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Trouble since ``since``. It becomes a reason after ``wait_s`` seconds.

    ``covered``: trouble of another kind explains it, so it is not shown or notified anew.
    ``announced_as``: the type of the event with which the agent announces such trouble anyway; None for no such
    event.
    """

    id: ReasonId
    text: str
    since: datetime
    subject: str | None = None
    wait_s: float = 0.0
    covered: bool = False
    announced_as: str | None = None

    @property
    def key(self) -> Key:
        """The kind and the subject."""
        return self.id, self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The state of the agent's parts at one moment. Times are aware UTC.

    ``wanted``: number of the projects that this agent or another should watch. ``configured`` are the names of the
    destinations in the config, or of its other plugins if it has no destination. ``destinations`` and ``plugins``
    are the running ones. By destination, ``queues`` has the notifications that wait, and ``given_up`` those that
    were given up of late.
    """

    started_at: datetime
    projects: Sequence[ProjectStatus] = ()
    wanted: int = 0
    discovery: DiscoveryStatus = field(default_factory=DiscoveryStatus)
    login: LoginStatus = field(default_factory=LoginStatus)
    unwatched: UnwatchedProjects | None = None
    configured: Sequence[str] = ()
    destinations: Sequence[DestinationCondition] = ()
    plugins: Sequence[InstanceStatus] = ()
    queues: Mapping[str, QueueStats] = field(default_factory=dict)
    given_up: Mapping[str, GivenUp] = field(default_factory=dict)
    store: LivenessReport = field(default_factory=lambda: LivenessReport(0.0))
    store_status: StoreStatus = field(default_factory=StoreStatus)
    refused_reload: RefusedReload | None = None
    last_block: Block | None = None


def find_conditions(facts: Facts, now: datetime, after_s: float) -> list[Condition]:
    """Returns all conditions, the gravest kinds first. ``after_s`` is ``[health] after``.

    Their texts are one line each, and printable: errors in them come from outside.
    """
    conditions = [
        *_login(facts),
        *_orchestrator(facts, after_s),
        *_nothing_watched(facts, after_s),
        *_no_destination(facts, after_s),
        *_store(facts, now),
        *_links(facts, after_s),
        *_capacity(facts, after_s),
        *_destinations(facts, after_s),
        *_given_up(facts),
        *_plugins(facts, after_s),
        *_reload(facts),
        *_loop(facts, now, after_s),
    ]
    return [condition if _is_plain(condition.text) else _printable(condition) for condition in conditions]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _printable(condition: Condition) -> Condition:
    return replace(condition, text=escape(" ".join(condition.text.split())))


def store_trouble(report: LivenessReport) -> str | None:
    """Returns the reason why the store does not work; None if it works."""
    if report.is_stuck:
        return f"the store has not answered for {report.silent_s:.0f} s"
    return report.trouble


def unconnected(facts: Facts) -> list[ProjectStatus]:
    """Returns the projects without a link, except those that are gone."""
    return [
        status for status in facts.projects if status.state is not ConnectionState.CONNECTED and not status.gone
    ]


def listed_names(names: Sequence[str]) -> str:
    """Returns the first names, and the number of the others."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _login(facts: Facts) -> Iterator[Condition]:
    login = facts.login
    if login.refused is not None:
        text = f"the orchestrator refuses the login: {login.refused}"
        yield Condition(ReasonId.LOGIN, text, login.since or facts.started_at, announced_as="login_failed")


def _orchestrator(facts: Facts, after_s: float) -> Iterator[Condition]:
    lost = unconnected(facts)
    if _is_out_of_reach(facts):
        reason = facts.login.unreachable or next((status.last_error for status in lost if status.last_error), None)
        text = f"no project has a link: {reason}" if reason else "no project has a link"
        # Nothing is watched since the last of the links went down.
        since = max(status.down_since or status.since for status in lost)
        covered = facts.login.refused is not None
        yield Condition(ReasonId.ORCHESTRATOR, text, since, wait_s=after_s, covered=covered)
    trouble, covered = facts.discovery.trouble, facts.login.refused is not None
    if trouble is None:
        return
    since = facts.discovery.since or facts.started_at
    if facts.projects:
        text = f"the list of projects cannot be read, so new projects are not found: {trouble}"
        yield Condition(
            ReasonId.DISCOVERY, text, since, wait_s=after_s, covered=covered or _is_out_of_reach(facts)
        )
    else:
        text = f"no project is known, since the list of projects cannot be read: {trouble}"
        yield Condition(ReasonId.ORCHESTRATOR, text, since, wait_s=after_s, covered=covered)


def _is_out_of_reach(facts: Facts) -> bool:
    """True if there are projects to watch and none has a link."""
    return bool(unconnected(facts)) and not any(
        status.state is ConnectionState.CONNECTED for status in facts.projects
    )


def _nothing_watched(facts: Facts, after_s: float) -> Iterator[Condition]:
    idle = facts.discovery.idle_globs
    if idle:
        text = f"no project matches {listed_names([*idle])}"
        yield Condition(ReasonId.NOTHING_WATCHED, text, min(idle.values()))
    elif _are_all_gone(facts):
        names = listed_names([status.project.id for status in facts.projects])
        since = max(status.down_since or status.since for status in facts.projects)
        text = f"the orchestrator knows none of the projects: {names}"
        yield Condition(ReasonId.NOTHING_WATCHED, text, since)
    elif not facts.projects and not facts.wanted and facts.discovery.trouble is None:
        # A restart must not hide that nothing is watched until the list of projects has been read.
        wait_s = 0.0 if facts.discovery.has_listed else after_s
        since = facts.discovery.asked_since or facts.started_at
        yield Condition(ReasonId.NOTHING_WATCHED, "there is no project to watch", since, wait_s=wait_s)


def _are_all_gone(facts: Facts) -> bool:
    """True if no wanted project exists. Those that another agent watches are not gone."""
    return (
        bool(facts.projects)
        and len(facts.projects) >= facts.wanted
        and all(status.gone for status in facts.projects)
    )


def _links(facts: Facts, after_s: float) -> Iterator[Condition]:
    covered = _is_out_of_reach(facts) or facts.login.refused is not None
    all_gone = _are_all_gone(facts)
    for status in facts.projects:
        since = status.down_since or status.lookup_failed_since
        if since is None:
            continue
        name = status.project.id if status.project.name == status.project.id else status.project.name
        if status.down_since is None:
            text = f"project {name}: missed events cannot be looked up: {status.lookup_error}"
        elif status.gone:
            text = f"project {name}: {status.last_error or 'the orchestrator does not know it'}"
        else:
            text = f"project {name} has no link: {status.last_error or 'not connected yet'}"
        yield Condition(
            ReasonId.LINK,
            text,
            since,
            subject=status.project.id,
            wait_s=after_s,
            covered=all_gone if status.gone else covered,
        )


def _capacity(facts: Facts, after_s: float) -> Iterator[Condition]:
    unwatched = facts.unwatched
    if unwatched is not None:
        text = f"projects that no agent on the store has a place for: {unwatched.projects}"
        yield Condition(ReasonId.CAPACITY, text, unwatched.since, wait_s=after_s)


def _destinations(facts: Facts, after_s: float) -> Iterator[Condition]:
    for destination in facts.destinations:
        if destination.since is None:
            yield from _backlog(destination.name, facts, after_s)
            continue
        reason = destination.last_error
        is_paused = destination.label == PAUSED
        needs_person = is_paused or destination.state in HELD_STATES
        state = "failed at its last message" if destination.label == GateState.OPEN else f"is {destination.label}"
        if is_paused:
            state, reason = "is paused by hand", None
        yield Condition(
            ReasonId.DESTINATION,
            f"{destination.name} {state}{f': {reason}' if reason else ''}",
            destination.since,
            subject=destination.name,
            wait_s=0.0 if needs_person else after_s,
            announced_as="destination_parked" if destination.state in HELD_STATES else None,
        )


def _backlog(name: str, facts: Facts, after_s: float) -> Iterator[Condition]:
    """Yields the condition of a destination that works but is late: its trouble comes and goes, or it is slow.

    A new agent has time to send the notifications that were left while none ran.
    """
    queue = facts.queues.get(name)
    if queue is not None:
        text = f"{name} is behind: notifications that wait: {queue.queued}"
        before_start_s = max(0.0, (facts.started_at - queue.oldest).total_seconds())
        yield Condition(ReasonId.DESTINATION, text, queue.oldest, subject=name, wait_s=before_start_s + after_s)


def _no_destination(facts: Facts, after_s: float) -> Iterator[Condition]:
    """Yields the condition that all are in trouble. It waits for the last of them to matter."""
    begins: dict[str, datetime] = {}
    matures: dict[str, datetime] = {}
    for condition in (*_plugins(facts, after_s), *_destinations(facts, after_s)):
        if (name := condition.subject) is not None:
            matures_at = condition.since + timedelta(seconds=condition.wait_s)
            begins[name] = min(condition.since, begins.get(name, condition.since))
            matures[name] = min(matures_at, matures.get(name, matures_at))
    if not facts.configured:
        text = "the config has no plugin that could notify anybody"
        yield Condition(ReasonId.NO_DESTINATION, text, facts.started_at)
    elif all(name in begins for name in facts.configured):
        text = f"nobody can be notified: {listed_names(facts.configured)} does not work"
        if len(facts.configured) > 1:
            text = f"nobody can be notified: none of {listed_names(facts.configured)} works"
        # No time of the wall clock: one that is set must not make young trouble old.
        since = max(begins[name] for name in facts.configured)
        wait_s = (max(matures[name] for name in facts.configured) - since).total_seconds()
        yield Condition(ReasonId.NO_DESTINATION, text, since, wait_s=wait_s)


def _given_up(facts: Facts) -> Iterator[Condition]:
    for name, given_up in facts.given_up.items():
        count = "a notification was" if given_up.count == 1 else f"{given_up.count} notifications were"
        text = f"{name}: {count} given up, the last one because: {given_up.reason}"
        yield Condition(ReasonId.GIVEN_UP, text, given_up.last_at, subject=name)


def _plugins(facts: Facts, after_s: float) -> Iterator[Condition]:
    for instance in facts.plugins:
        if instance.state is InstanceState.STOPPED or (
            instance.state is InstanceState.LOADED and instance.reason is None
        ):
            continue
        is_failed = instance.state is InstanceState.FAILED
        announced = instance.state in (InstanceState.FAILED, InstanceState.RETRYING)
        yield Condition(
            ReasonId.PLUGIN,
            f"{instance.name} is {instance.state.value}: {instance.reason or 'it is not set up yet'}",
            instance.since,
            subject=instance.name,
            wait_s=0.0 if is_failed else after_s,
            announced_as="plugin_failed" if announced else None,
        )


def _reload(facts: Facts) -> Iterator[Condition]:
    refused = facts.refused_reload
    if refused is not None:
        text = f"the last reload was refused, so the config before it is in use: {refused.reason}"
        yield Condition(ReasonId.RELOAD, text, refused.since)


def _store(facts: Facts, now: datetime) -> Iterator[Condition]:
    problem = store_trouble(facts.store) or facts.store_status.reason
    if problem is None:
        return
    since = facts.store_status.since or now - timedelta(seconds=facts.store.silent_s)
    yield Condition(ReasonId.STORE, problem, since, announced_as="store_degraded")


def _loop(facts: Facts, now: datetime, after_s: float) -> Iterator[Condition]:
    block = facts.last_block
    is_starved = block is not None and block.where == NO_TIME
    min_s = max(after_s, MIN_BLOCK_S) if is_starved else MIN_BLOCK_S
    if block is None or (block.instance is None and block.lasted_s < min_s):
        return
    if now - block.began_at < timedelta(seconds=block.lasted_s + max(after_s, BLOCK_SHOWN_S)):
        by = f"{block.instance} ({block.where})" if block.instance else block.where
        text = f"{by} blocked the whole agent for {block.lasted_s:.0f} s"
        if is_starved:
            text = f"the machine gave the agent no time for {block.lasted_s:.0f} s"
        yield Condition(ReasonId.LOOP, text, block.began_at)
