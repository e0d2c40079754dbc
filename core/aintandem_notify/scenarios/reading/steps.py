"""Reads the steps of a scenario file, one after the other: resolves their times, projects and events."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from zoneinfo import ZoneInfo

from aintandem_notify.config import Config
from aintandem_notify.config.findings import Place, did_you_mean
from aintandem_notify.domain.notification import Project
from aintandem_notify.rules.globs import is_named
from aintandem_notify.scenarios.moments import next_moment
from aintandem_notify.scenarios.reading.events import WrongEvent, events_of, is_about_agent, project_of
from aintandem_notify.scenarios.reading.file_context import FileContext
from aintandem_notify.scenarios.reading.tables import (
    STEPS,
    EndSilenceStep,
    EventStep,
    ExpectationTable,
    ExpectStep,
    LinkStep,
    ReloadStep,
    RestartStep,
    SilenceStep,
)
from aintandem_notify.scenarios.scenario import (
    Expectation,
    Happening,
    LinkChange,
    Reload,
    Restart,
    SilenceBegins,
    SilenceEnds,
    Step,
)
from aintandem_notify.stages.silences import MATCHER_NAMES, Silence

DEFAULT_PROJECT: Final = "project-1"
"""The project of an event that names none, if the config names none either."""


class StepReader:
    """Reads the steps in their order. Each has the time of the one before, or a later one."""

    def __init__(self, context: FileContext, config: Config, zone: ZoneInfo, start: datetime) -> None:
        self._context = context
        self._config = config
        self._zone = zone
        self._now = start
        self._runs_again_at = start
        self._silences: list[str] = []
        self._step_count = 0
        self._last_expected = (start, -1)
        self._expected_since = -1

    def read(self, raw: Mapping[str, Any], place: Place) -> Iterator[Step | Expectation]:
        """The steps and expectations of one table; none if it has findings."""
        for result in self._read(raw, place):
            self._step_count += isinstance(result, Step)
            yield result

    def _read(self, raw: Mapping[str, Any], place: Place) -> Iterator[Step | Expectation]:
        kinds = [kind for kind in STEPS if kind in raw]
        if len(kinds) != 1:
            self._context.report(place, self._wrong_kind(raw, kinds))
            return
        step = self._context.validate(STEPS[kinds[0]], raw, place)
        if step is None or not self._move_time(getattr(step, "at", None), (*place, "at")):
            return
        if self._now < self._runs_again_at and isinstance(step, ReloadStep | RestartStep | LinkStep):
            self._context.report(place, "is at a time at which the agent does not run")
        match step:
            case EventStep():
                yield from self._happenings(step, place)
            case SilenceStep():
                yield from self._silence(step, place)
            case EndSilenceStep():
                yield from self._silence_end(step, place)
            case ReloadStep():
                yield from self._reload(step, place)
            case RestartStep():
                self._runs_again_at = self._now + timedelta(seconds=step.restart)
                yield Restart(at=self._now, line=self._context.line_of(place), until=self._runs_again_at)
            case LinkStep():
                yield from self._link(step, place)
            case ExpectStep():
                yield from self._expected_now(step.expect, (*place, "expect"))

    def _wrong_kind(self, raw: Mapping[str, Any], kinds: list[str]) -> str:
        if kinds:
            return f"has {' and '.join(kinds)}; a step has one of them"
        hint = next((hint for key in raw if key != "at" and (hint := did_you_mean(key, STEPS))), "")
        return f"should have one of {', '.join(STEPS)}{hint}"

    def _move_time(self, at: object, place: Place) -> bool:
        """Move to the time of the next step; False if it is wrong."""
        if at is None:
            return True
        try:
            self._now = next_moment(at, self._now, self._zone)
        except ValueError as error:
            self._context.report(place, str(error))
            return False
        return True

    def _happenings(self, step: EventStep, place: Place) -> Iterator[Step]:
        try:
            project = None if is_about_agent(step) else self._project(project_of(step))
            if project is None and self._now < self._runs_again_at:
                raise WrongEvent(("event",), "is at a time at which the agent does not run")
            events = list(events_of(step, DEFAULT_PROJECT if project is None else project.id, self._now))
        except WrongEvent as error:
            self._context.report((*place, *error.place), str(error))
            return
        for at, together in groupby(events, key=itemgetter(0)):
            self._now = at
            yield Happening(
                at=at,
                line=self._context.line_of(place),
                project=project,
                events=tuple(event for _, event in together),
            )

    def _project(self, named: str | None) -> Project:
        """The project with this id or name; the first one of the config if none is named."""
        projects = self._config.projects
        by_name = [project for project in projects if named in (project.id, project.name) and not project.is_glob]
        if named is None:
            by_name = [project for project in projects if not project.is_glob]
        if by_name:
            return Project(id=by_name[0].id, name=by_name[0].name or by_name[0].id)
        project_id = named or DEFAULT_PROJECT
        if not any(is_named(project.id, [project_id]) for project in projects):
            raise WrongEvent(("project",), f"the config watches no project {project_id}")
        return Project(id=project_id, name=project_id)

    def _silence(self, step: SilenceStep, place: Place) -> Iterator[Step]:
        table = step.silence
        matchers = {name: glob for name in MATCHER_NAMES if (glob := getattr(table, name)) is not None}
        place = (*place, "silence")
        if not matchers:
            self._context.report(place, f"should have one of {', '.join(MATCHER_NAMES)}")
        if (table.for_ is None) == (table.until is None):
            self._context.report(place, 'should have for = "2h", or until = "22:00"')
            return
        try:
            length = None if table.for_ is None else timedelta(seconds=table.for_)
            until = next_moment(table.until, self._now, self._zone) if length is None else self._now + length
        except ValueError as error:
            self._context.report((*place, "until"), str(error))
            return
        if table.id in self._silences:
            self._context.report(place, f"there is a silence {table.id} already; give each an id of its own")
        self._silences.append(table.id)
        silence = Silence(table.id, matchers, self._now, until, table.owner, table.reason)
        yield SilenceBegins(at=self._now, line=self._context.line_of(place), silence=silence)

    def _silence_end(self, step: EndSilenceStep, place: Place) -> Iterator[Step]:
        if step.end_silence not in self._silences:
            hint = did_you_mean(step.end_silence, self._silences)
            self._context.report((*place, "end_silence"), f"no step above adds a silence {step.end_silence}{hint}")
        yield SilenceEnds(at=self._now, line=self._context.line_of(place), silence_id=step.end_silence)

    def _reload(self, step: ReloadStep, place: Place) -> Iterator[Step]:
        config = self._context.next_config(step.reload, (*place, "reload"))
        if config is not None:
            self._config = config
            yield Reload(at=self._now, line=self._context.line_of(place), config=config)

    def _link(self, step: LinkStep, place: Place) -> Iterator[Step]:
        try:
            project = self._project(step.project)
        except WrongEvent as error:
            self._context.report((*place, *error.place), str(error))
            return
        yield LinkChange(at=self._now, line=self._context.line_of(place), project=project, is_up=step.link == "up")

    def _expected_now(self, expected: object, place: Place) -> Iterator[Expectation]:
        timing = self._timing()
        match expected:
            case list():
                for index, raw in enumerate(expected):
                    yield from self.expectation(raw, (*place, index), timing)
            case dict():
                yield from self.expectation(expected, place, timing)
            case _:
                yield Expectation(line=self._context.line_of(place), count=0, **timing)

    def _timing(self) -> dict[str, Any]:
        """The time of an expectation: now, after the steps at this time that are behind the last expectation."""
        at, steps = self._last_expected
        if at != self._now:
            self._expected_since = -1
        elif steps < self._step_count:
            self._expected_since = steps
        self._last_expected = self._now, self._step_count
        return {"at": self._now, "after_steps": self._expected_since, "until_steps": self._step_count}

    def expectation(self, raw: object, place: Place, timing: Mapping[str, Any]) -> Iterator[Expectation]:
        """The expectation in the table; without ``timing``, at any time."""
        table = self._context.validate(ExpectationTable, raw, place)
        if table is None:
            return
        names = list(self._context.destinations)
        if table.to is not None and table.to not in names:
            hint = did_you_mean(table.to, names) or f"; there are {', '.join(names) or 'none'}"
            self._context.report((*place, "to"), f"no destination called {table.to}{hint}")
        yield Expectation(line=self._context.line_of(place), **timing, **table.model_dump())
