"""Observes runs as REST shows them after a gap: only their last state, from the events that were missed. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from aintandem_notify.domain.events import Event
from aintandem_notify.domain.observation import Observation
from aintandem_notify.domain.runs import Run, RunRef, advance, run_ref


def observe(runs: Mapping[RunRef, Run], missed: Iterable[Event], now: datetime) -> Iterator[Observation]:
    """The runs that the missed events are about, as REST shows them at ``now``.

    ``runs`` are those that were known before the gap.
    """
    latest: dict[RunRef, Run | None] = dict(runs)
    last_events: dict[RunRef, Event] = {}
    for event in missed:
        if (ref := run_ref(event)) is not None:
            latest[ref] = advance(latest.get(ref), event)
            last_events[ref] = event
    for ref, event in last_events.items():
        run = latest[ref]
        if run is not None:
            yield Observation(
                ref,
                run.state,
                name=run.name,
                workflow_id=run.workflow_id,
                created_at=run.created_at,
                started_at=run.started_at,
                ended_at=run.ended_at,
                error=getattr(event, "error", None),
                output=getattr(event, "output", None),
                duration=getattr(event, "duration", None),
                confirmed=True,
                asked_at=now,
            )
