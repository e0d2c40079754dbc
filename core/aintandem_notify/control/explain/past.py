"""Finds the events of the store that a reference names, and their fate.

Each step is a short transaction, so that the agent's own work goes on in between.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.explainer import Explainer, hold_reason, project_of
from aintandem_notify.control.explain.schemas import (
    EventExplanation,
    Fate,
    FateResponse,
    RuleVerdictResponse,
    SummaryResponse,
    ToldInSummaryResponse,
)
from aintandem_notify.control.explain.trouble import asked_behind, stored_episodes
from aintandem_notify.domain.event_redaction import EventContext, generic_title, redact_event_context
from aintandem_notify.domain.events import DigestEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import about_ref
from aintandem_notify.log import redact
from aintandem_notify.rules import default_texts
from aintandem_notify.rules.effective_rules import Verdict
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.stages.silences import Silence
from aintandem_notify.store import DeliveryRow, DeliveryState, Store, TransactionPurpose
from aintandem_notify.store.stages.traces import SCANNED_ROWS, HeldTrace, StoredEvent, StoredNotification

MAX_EVENTS: Final = 5
"""Events of a run that are explained: the newest ones."""
MAX_TOLD: Final = 50
"""Events of a summary that are named."""
MAX_CANDIDATES: Final = 5
"""Notifications that the error lists when an id is ambiguous."""
MAX_REFERENCE_CHARACTERS: Final = 2000
"""Characters of a reference; more than any id has."""

_KEY: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{44}")
_KEY_LENGTH: Final = 32
_MAX_DELIVERY_DIGITS: Final = 18

HOW_TO_NAME: Final = (
    "write the id of a notification (ntf_…), of a task, workflow execution or sandbox, the number of a delivery "
    "(deliveries list shows both), or a JSON file with an event"
)


@dataclass(frozen=True, slots=True)
class EventSearch:
    """A search for the events that ``reference`` names; ``events`` has those that it has, the newest first.

    ``below`` is the newest event that it has not looked at, None before the first look. A run may have ``more``.
    """

    reference: str
    events: tuple[StoredEvent, ...] = ()
    below: int | None = None
    more: bool = False
    is_complete: bool = False


def search_on(store: Store, search: EventSearch) -> EventSearch:
    """Returns ``search`` after the next look into the store; call it again until it is complete.

    Raises RequestRefused if the store has nothing that the reference names.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        if search.below is None:
            return _begin(store, search)
        return _look(store, search, search.below)


def _begin(store: Store, search: EventSearch) -> EventSearch:
    reference = search.reference.strip()
    if not reference or len(reference) > MAX_REFERENCE_CHARACTERS:
        raise RequestRefused(f"name something to explain: {HOW_TO_NAME}")
    # A task's id may be such a number, too; the deliveries of this store are nearer to the user.
    if reference.isascii() and reference.isdigit() and len(reference) <= _MAX_DELIVERY_DIGITS:
        notification = store.traces.notification_of_delivery(int(reference))
        if notification is not None:
            return _of_notification(store, search, notification)
    if reference.lower().startswith("ntf_") and len(reference) > len("ntf_"):
        return _of_notification(store, search, reference.lower())
    if _KEY.fullmatch(reference) and (event := store.traces.event(reference)) is not None:
        return replace(search, events=(event,), is_complete=True)
    return replace(search, below=store.traces.newest_event_id())


def _of_notification(store: Store, search: EventSearch, prefix: str) -> EventSearch:
    found = store.traces.keys_of_notification(prefix, limit=MAX_CANDIDATES + 1)
    if len(found) > 1:
        names = ", ".join(name for name, _ in found[:MAX_CANDIDATES])
        more = " and more" if len(found) > MAX_CANDIDATES else ""
        raise RequestRefused(f"{prefix} is ambiguous: it may be {names}{more}", status=409)
    event = store.traces.event(found[0][1]) if found else None
    if event is None:
        raise RequestRefused(
            f"the store has no notification {prefix}; it keeps them as long as [store] keep says", status=404
        )
    return replace(search, events=(event,), is_complete=True)


def _look(store: Store, search: EventSearch, below: int) -> EventSearch:
    reference = search.reference.strip()
    wanted = MAX_EVENTS + 1 - len(search.events)
    if _KEY.fullmatch(reference):
        looked = store.traces.newest_events(up_to=below, limit=1, key=reference[-_KEY_LENGTH:])
        events = (*search.events, *looked)
        is_complete = bool(looked)
    else:
        looked = store.traces.newest_events(up_to=below, limit=wanted, run_id=reference)
        events = (*search.events, *looked)
        is_complete = len(events) > MAX_EVENTS
    next_below = below - SCANNED_ROWS
    if next_below <= 0 and not events:
        raise RequestRefused(
            f"the store has no event of {redact(reference)}; it keeps them as long as [store] keep says. Else "
            f"{HOW_TO_NAME}",
            status=404,
        )
    return replace(
        search,
        events=events[:MAX_EVENTS],
        more=len(events) > MAX_EVENTS,
        below=next_below,
        is_complete=is_complete or next_below <= 0,
    )


def explain_stored(
    store: Store, stored: StoredEvent, explainer: Explainer | None, known: Sequence[Project] = ()
) -> EventExplanation:
    """Returns the fate of a stored event. Without an ``explainer`` it says nothing of other rules.

    ``known``: the projects that are watched.
    """
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        traces = _Traces.read(store, stored)
        context = _context(store, stored, traces, explainer, known)
        rules_since = store.traces.rules_since()
        episodes = stored_episodes(store, context, traces.rules, None if explainer is None else explainer.policy)
    ended = {episode.rule for episode in episodes if episode.role == "end"}
    rules = () if explainer is None else _other_rules(explainer, context, traces, ended)
    changed_at, notes = _rules_changed(rules_since, traces, stored, explainer)
    if not traces.notifications and any(name.startswith("run.") for rule in rules for name in rule.values):
        notes.append("the conditions saw the run as it is now, not as it was then")
    event, run, project = shown = redact_event_context(context)
    return EventExplanation(
        key=stored.event.key,
        type=event.type,
        family=event.family.value,
        title=title_of(shown),
        occurred_at=event.timestamp,
        received_at=stored.received_at,
        project=project.name if project is not None else None,
        run=run.name if run is not None else None,
        run_id=event.run_id,
        fates=tuple(_fates(traces)),
        rules=rules,
        rules_changed_at=changed_at,
        tells=tuple(
            ToldInSummaryResponse(
                key=trace.event_key,
                rule=trace.rule,
                run=redact(trace.run_name),
                project=redact(trace.project_name or trace.project_id),
            )
            for trace in traces.told
        ),
        tells_count=traces.told_count,
        episodes=episodes,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Traces:
    """All that the store has about one event."""

    notifications: Sequence[StoredNotification]
    held: Sequence[HeldTrace]
    deliveries: Sequence[DeliveryRow]
    silences: Mapping[str, Silence]
    causes: Mapping[str, Episode]
    told: Sequence[HeldTrace]
    told_count: int

    @classmethod
    def read(cls, store: Store, stored: StoredEvent) -> Self:
        notifications, held = store.traces.notifications(stored.stored_key), store.traces.held(stored.stored_key)
        ids = {note.id for note in notifications} | {trace.told_by for trace in held if trace.told_by is not None}
        told: list[HeldTrace] = []
        told_count = 0
        if isinstance(stored.event, DigestEvent) and notifications:
            summary = notifications[0]
            told, told_count = store.traces.of_summary(summary.id, summary.created_at, limit=MAX_TOLD)
        silence_ids = [trace.hold_key for trace in held if trace.stage is Stage.SILENCES]
        cause_ids = [trace.hold_key for trace in held if trace.stage is Stage.HELD_BACK_BY]
        return cls(
            notifications,
            held,
            store.delivery_queries.rows(store.traces.delivery_ids(sorted(ids))),
            {silence.id: silence for silence in store.silences.by_ids(silence_ids)},
            {episode.id: episode for episode in store.episodes.by_ids(cause_ids)},
            told,
            told_count,
        )

    @property
    def rules(self) -> set[str]:
        """The rules that took the event."""
        return {note.rule for note in self.notifications} | {trace.rule for trace in self.held}


def title_of(context: EventContext) -> str:
    """The default title of the event; a plain one if its texts raise."""
    try:
        return default_texts.title(context)
    except Exception:  # noqa: BLE001  # texts from outside may raise anything
        return generic_title(context[0])


def _context(
    store: Store,
    stored: StoredEvent,
    traces: _Traces,
    explainer: Explainer | None,
    known: Sequence[Project],
) -> EventContext:
    """The event with its run and project as they were then, if a notification has them, else as they are now."""
    for note in traces.notifications:
        if (notification := store.outbox.read_notification(note.id)) is not None:
            return stored.event, notification.run, notification.project
    event, ref = stored.event, about_ref(stored.event)
    run = None if ref is None else store.journal.latest_runs([ref]).get(ref)
    return event, run, _project(event.project_id, traces, explainer, known)


def _project(
    project_id: str | None, traces: _Traces, explainer: Explainer | None, known: Sequence[Project]
) -> Project | None:
    if not project_id:
        return None
    names = (trace.project_name for trace in traces.held if trace.project_name)
    named = [*known, *(Project(id=project_id, name=name) for name in names)]
    found = next((project for project in named if project.id == project_id), None)
    if found is None and explainer is not None:
        found = project_of(explainer.config, project_id)
    return found or Project(id=project_id, name=project_id)


def _other_rules(
    explainer: Explainer, context: EventContext, traces: _Traces, ended: Set[str]
) -> tuple[RuleVerdictResponse, ...]:
    """The decisions of the rules in use about the event, with a word where they decided otherwise then.

    Rules in ``ended`` told of the end of their trouble.
    """
    rules: list[RuleVerdictResponse] = []
    matched = traces.rules
    refusing = [trace.rule for trace in traces.held if trace.stage is Stage.ON and trace.told_by is None]
    for rule in asked_behind(explainer.rules(context), refusing, matched):
        if rule.rule in ended and rule.verdict != Verdict.MATCH:
            rules.append(rule.model_copy(update={"reason": "it tells of the end of its trouble"}))
            continue
        if rule.rule in matched and rule.verdict != Verdict.MATCH:
            rule = rule.model_copy(update={"reason": f"it took the event then; now {rule.reason}"})
        elif rule.rule not in matched and rule.verdict == Verdict.MATCH and rule.destinations:
            rule = rule.model_copy(update={"reason": f"{rule.reason} now, and the store has nothing of it"})
        rules.append(rule)
    return tuple(rules)


def _rules_changed(
    rules_since: tuple[str, datetime] | None, traces: _Traces, stored: StoredEvent, explainer: Explainer | None
) -> tuple[datetime | None, list[str]]:
    """Since when other rules are in use than at the event; a sentence if the time is not known."""
    if explainer is None:
        return None, []
    in_use, since = rules_since or (None, stored.received_at)
    if in_use is not None and in_use != explainer.policy.config_hash:
        return None, ["the rules in the config file are not those with which the agent ran last"]
    if since > stored.received_at:
        return since, []
    if any(trace.config_hash != explainer.policy.config_hash for trace in traces.held):
        return None, ["the rules have changed since the event"]
    return None, []


_STATES: Final[Mapping[DeliveryState, Fate]] = {
    DeliveryState.DELIVERED: Fate.DELIVERED,
    DeliveryState.QUEUED: Fate.QUEUED,
    DeliveryState.DEAD: Fate.DEAD,
    DeliveryState.FOLDED: Fate.FOLDED,
}


def _fates(traces: _Traces) -> Iterator[FateResponse]:
    """The fate of each notification at each destination: first those that no stage held."""
    by_place: dict[tuple[str | None, str], DeliveryRow] = {
        (row.notification_id, row.destination): row for row in traces.deliveries
    }
    rules = {note.id: note.rule for note in traces.notifications}
    held_places = {(trace.notification_id, trace.destination) for trace in traces.held}
    for row in reversed(traces.deliveries):  # in the order in which they were queued
        if row.notification_id in rules and (row.notification_id, row.destination) not in held_places:
            yield _of_delivery(row, rules[row.notification_id])
    for trace in traces.held:
        yield _of_held(trace, by_place, traces)


def _of_delivery(row: DeliveryRow, rule: str) -> FateResponse:
    is_queued = row.state is DeliveryState.QUEUED
    return FateResponse(
        rule=rule,
        destination=row.destination,
        fate=_STATES[row.state],
        notification=row.notification_id,
        delivery=row.id,
        reason=row.reason,
        since=row.created_at,
        until=row.due_at if is_queued else None,
        at=row.settled_at,
        instead_of=row.instead_of,
        taken_over_by=row.taken_over_by,
    )


def _of_held(
    trace: HeldTrace, by_place: Mapping[tuple[str | None, str], DeliveryRow], traces: _Traces
) -> FateResponse:
    key = trace.hold_key
    reason = trace.reason or hold_reason(
        trace.stage, key, trace.group_value, traces.silences.get(key), traces.causes.get(key)
    )
    told = FateResponse(
        rule=trace.rule,
        destination=trace.destination,
        fate=Fate.HELD if trace.settled_at is None else Fate.DROPPED,
        notification=trace.notification_id,
        stage=trace.stage.label,
        reason=redact(reason),
        earlier_stages=trace.earlier_stages,
        since=trace.held_at,
        until=trace.until,
        at=trace.settled_at,
    )
    if trace.told_by is None:
        return told
    row = by_place.get((trace.told_by, trace.destination))
    if trace.told_by != trace.notification_id:
        return told.model_copy(update={"fate": Fate.TOGETHER, "summary": _summary(trace.told_by, row)})
    if row is None:
        return told.model_copy(update={"fate": Fate.TOLD})
    of_delivery = _of_delivery(row, trace.rule)
    return told.model_copy(
        update={
            "fate": of_delivery.fate,
            "delivery": of_delivery.delivery,
            "at": of_delivery.at,
            "until": of_delivery.until,
            "reason": of_delivery.reason or told.reason,
            "instead_of": of_delivery.instead_of,
            "taken_over_by": of_delivery.taken_over_by,
        }
    )


def _summary(notification: str, row: DeliveryRow | None) -> SummaryResponse:
    if row is None:
        return SummaryResponse(notification=notification, title="", fate=Fate.TOLD)
    title = (row.content or {}).get("title")
    return SummaryResponse(
        notification=notification,
        title=title if isinstance(title, str) else "",
        fate=_STATES[row.state],
        delivery=row.id,
        at=row.settled_at,
        reason=row.reason,
    )
