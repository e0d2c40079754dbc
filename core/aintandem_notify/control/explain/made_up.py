"""Explains an event that has not happened: nothing is stored and nothing is sent."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from aintandem_notify.config import Config
from aintandem_notify.config.findings import did_you_mean
from aintandem_notify.control.episodes.lists import responses_of
from aintandem_notify.control.episodes.schemas import EpisodeResponse
from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.explain.explainer import Explainer, StageState
from aintandem_notify.control.explain.past import title_of
from aintandem_notify.control.explain.schemas import EpisodeOfEventResponse, EventExplanation
from aintandem_notify.control.explain.trouble import TroubleState, asked_behind, present_episodes
from aintandem_notify.domain.event_redaction import EventContext, redact_event_context
from aintandem_notify.domain.events import EVENT_TYPES, Event, Family, UnknownEvent, restore_event, sanitize_value
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run, about_ref, advance
from aintandem_notify.domain.samples import SAMPLE_DURATION, SAMPLE_FIELDS, sample_event, sample_run
from aintandem_notify.rules.globs import is_named
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.stages.pipeline import Stage, StagePolicy, Window, WindowKey
from aintandem_notify.store import Store, TransactionPurpose

MAX_WAITING: Final = 1000
"""Notifications in one hold that are counted."""

_IDS: Final = {
    Family.TASK: ("taskId", "task-1"),
    Family.WORKFLOW: ("executionId", "exec-1"),
    Family.SANDBOX: ("sandboxId", "sandbox-1"),
}


@dataclass(frozen=True, slots=True)
class MadeUpEvent:
    """A description of an event that has not happened.

    ``fields`` are those of its frame, with ``type``. With ``is_sample`` those that are missing are made up;
    without, only ids and the time are. ``project`` is an id or a name; None: as in the fields, else one
    of the config. ``at`` is the time at which it would be received; None: now. ``duration_s``: how long its
    run has run; None: as that of a sample.
    """

    fields: Mapping[str, Any]
    is_sample: bool = True
    project: str | None = None
    at: datetime | None = None
    duration_s: float | None = None


def explain_made_up(
    made_up: MadeUpEvent, explainer: Explainer, known: Sequence[Project], state: StageState, now: datetime
) -> EventExplanation:
    """Returns the fate that the event would have by the rules and their stages.

    ``known``: the projects that are watched. Raises RequestRefused for an event that cannot be made.
    """
    at = made_up.at or now
    project = _project(made_up, explainer.config, known)
    event = _event(made_up, project, at)
    if event.family is Family.AGENT and not event.project_id:
        project = None
    notes = []
    if isinstance(event, UnknownEvent) and event.type not in EVENT_TYPES:
        notes.append(f"this version does not know the type {event.type}: only rules for unknown/* take it")
    elif isinstance(event, UnknownEvent):
        notes.append(f"it is no valid {event.type}: a field is missing or wrong, so it counts as an unknown event")
    context: EventContext = (event, _run(made_up, event), project)
    event, run, shown_project = shown = redact_event_context(context)
    fates = explainer.fates_now(context, at, state)
    return EventExplanation(
        key=None,
        type=event.type,
        family=event.family.value,
        title=title_of(shown),
        occurred_at=event.timestamp,
        received_at=None,
        project=shown_project.name if shown_project is not None else None,
        run=run.name if run is not None else None,
        run_id=None if (ref := about_ref(event)) is None else ref.id,
        fates=fates,
        rules=asked_behind(
            explainer.rules(context),
            [fate.rule for fate in fates if fate.stage == Stage.ON.label],
            {fate.rule for fate in fates},
        ),
        episodes=tuple(_episodes(context, {fate.rule for fate in fates}, explainer.policy, state.trouble)),
        notes=tuple(notes),
    )


def _episodes(
    context: EventContext, rules: set[str], policy: StagePolicy, state: TroubleState
) -> Iterator[EpisodeOfEventResponse]:
    for role, found in present_episodes(context, rules, policy, state).items():
        for response in state.describe(found, policy):
            yield EpisodeOfEventResponse(**dict(response), role=role)


def _project(made_up: MadeUpEvent, config: Config, known: Sequence[Project]) -> Project | None:
    """The project of the event. Raises RequestRefused for one that neither the config nor the agent knows."""
    of_config = [
        Project(id=entry.id, name=entry.name or entry.id) for entry in config.projects if not entry.is_glob
    ]
    projects = [*known, *of_config]
    wanted = made_up.project or made_up.fields.get("projectId")
    if wanted is None:
        return projects[0] if projects else Project(id="project-123", name="project-123")
    found = next((project for project in projects if wanted in (project.id, project.name)), None)
    if found is not None:
        return found
    is_of_glob = any(entry.is_glob and is_named(entry.id, [str(wanted)]) for entry in config.projects)
    if made_up.project is None or is_of_glob:  # the orchestrator may have it
        return Project(id=str(wanted), name=str(wanted))
    names = [name for project in projects for name in dict.fromkeys((project.name, project.id))]
    hint = did_you_mean(str(wanted), names) or f"; there is {', '.join(dict.fromkeys(names)) or 'none'}"
    raise RequestRefused(f"no project here is called {wanted}{hint}", status=404)


def _event(made_up: MadeUpEvent, project: Project | None, at: datetime) -> Event:
    fields = sanitize_value(dict(made_up.fields))
    if not isinstance(fields, dict):
        raise RequestRefused("the event is nested too deep, or has a number that is not finite")
    event_type = fields.get("type")
    if not isinstance(event_type, str) or not event_type:
        raise RequestRefused('an event has a type, as {"type": "task_failed", "taskId": "task-1"}')
    if made_up.is_sample and event_type not in EVENT_TYPES:
        raise RequestRefused(
            f"no event type is called {event_type}{did_you_mean(event_type, EVENT_TYPES) or _all(EVENT_TYPES)}"
        )
    model = EVENT_TYPES.get(event_type)
    family = None if model is None else model.family
    needs_project = family is not Family.AGENT or "projectId" in SAMPLE_FIELDS.get(event_type, {})
    if project is not None and needs_project:
        fields["projectId"] = project.id
    if made_up.is_sample:
        return sample_event(event_type, **{**_timestamp(at), **{n: v for n, v in fields.items() if n != "type"}})
    if family in _IDS and not any(name in fields for name in (_IDS[family][0], "containerId")):
        name, value = _IDS[family]
        fields[name] = value
    return restore_event({**_timestamp(at), **fields})


def _run(made_up: MadeUpEvent, event: Event) -> Run | None:
    """The run after the event; that of a file's event has nothing that is not in the event, but its length."""
    run = sample_run(event)
    if run is None:
        return None
    seconds = SAMPLE_DURATION if made_up.duration_s is None else made_up.duration_s
    run = run if made_up.is_sample or event.family is Family.WATCH else advance(None, event)
    return replace(run, started_at=event.timestamp - timedelta(seconds=seconds))


def _timestamp(at: datetime) -> dict[str, str]:
    return {"timestamp": at.isoformat().replace("+00:00", "Z")}


def _all(names: Iterable[str]) -> str:
    return f"; there is {', '.join(names)}"


def stage_state(store: Store, now: datetime) -> StageState:
    """Returns the active silences of the store, and functions that read windows and holds in transactions."""
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        silences = store.silences.active(now)

    def windows(keys: Sequence[WindowKey]) -> Mapping[WindowKey, Window]:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.stage_windows.read(keys)

    def waiting(stage: Stage, destination: str, key: str) -> int:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.traces.waiting(stage, destination, key, up_to=MAX_WAITING)

    return StageState(silences, windows, waiting, _trouble_state(store))


def _trouble_state(store: Store) -> TroubleState:
    def current(numbers: Collection[int], run_numbers: Collection[int]) -> Sequence[Episode]:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.episodes.current(numbers, run_numbers)

    def causes(rules: Sequence[str], project_id: str) -> Sequence[Episode]:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.episodes.open(rules=rules, project_id=project_id)

    def has_success_after(number: int, at: datetime) -> bool:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return store.episodes.has_success_after(number, at)

    def describe(found: Sequence[Episode], policy: StagePolicy) -> Sequence[EpisodeResponse]:
        with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
            return list(responses_of(store, found, policy))

    return TroubleState(current=current, causes=causes, has_success_after=has_success_after, describe=describe)
