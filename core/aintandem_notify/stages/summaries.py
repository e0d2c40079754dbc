"""Builds the notification that stands for several: a group, the surplus of a throttle, a digest of quiet hours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final

from aintandem_notify.domain.events import DigestEvent
from aintandem_notify.domain.notification import Notification, Project, Severity
from aintandem_notify.rules import default_texts, formats
from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.stages.values import label

MAX_TITLES: Final = 15
"""Titles that a summary lists; more would not be read, and fewer lines would be cut on a screen."""
MAX_TITLES_READ: Final = 200
"""Notifications whose titles are looked at: equal ones are listed as one."""
MAX_LISTED: Final = 50
"""Rules and projects that the event of a summary names."""
MAX_TITLE_CHARACTERS: Final = 150
MAX_PLACE_CHARACTERS: Final = 60
"""Characters of a project's name behind a title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSummary:
    """The contents of notifications that are told as one.

    ``titles`` are those of the first ones, the worst first, and ``title_projects`` the names of their projects.
    ``projects`` maps ids to names. ``open_runs`` of the ``failed_runs`` have not succeeded since. ``first_id``
    identifies the first held notification, ``group_value`` has its values.
    """

    first_id: int
    types: Mapping[str, int]
    severities: frozenset[Severity]
    rules: Sequence[str]
    projects: Mapping[str, str]
    oldest: datetime
    newest: datetime
    titles: Sequence[str]
    title_projects: Sequence[str]
    failed_runs: int
    open_runs: int
    group_value: str

    @property
    def count(self) -> int:
        """The number of notifications."""
        return sum(self.types.values())


def summary_notification(
    summary: HeldSummary, destination: str, stage: Stage, key: str, now: datetime
) -> Notification:
    """The notification that stands for those that ``stage`` held for ``destination`` under ``key``.

    Summaries of one group share a thread, and so do the digests of the same quiet hours.
    """
    is_one_project = len(summary.projects) == 1
    project = _first_project(summary.projects) if is_one_project else None
    titles = _equal_titles(summary)
    listed = list(titles.items())[:MAX_TITLES]
    event = DigestEvent(
        timestamp=now,
        instance=destination,
        held_by=stage.label,
        label=_label(summary, stage, key),
        count=summary.count,
        types=dict(sorted(summary.types.items(), key=_worst_first)),
        titles=tuple(title if count == 1 else f"{title} ({count} times)" for title, count in listed),
        unlisted=summary.count - sum(count for _, count in listed),
        rules=tuple(summary.rules[:MAX_LISTED]),
        projects=tuple(list(summary.projects)[:MAX_LISTED]),
        failed_runs=summary.failed_runs,
        open_runs=summary.open_runs,
        oldest=summary.oldest,
        newest=summary.newest,
    )
    context = (event, None, project)
    digest = blake2b(f"{event.key}\n{summary.first_id}".encode(), digest_size=16).hexdigest()
    thread = blake2b(f"{stage.label}\n{key}".encode(), digest_size=8).hexdigest()
    return Notification(
        id=f"ntf_{digest}",
        thread=f"{stage.label}/{thread}",
        severity=max(summary.severities, key=lambda severity: severity.rank),
        title=default_texts.title(context),
        body=default_texts.body(context),
        fields=default_texts.fields(context),
        event=event,
        project=project,
        rule=summary.rules[0],
        created_at=now,
    )


def _worst_first(count_of_type: tuple[str, int]) -> tuple[int, int, str]:
    """The order of the types of events: a failure must not hide behind a hundred successes."""
    name, count = count_of_type
    text = default_texts.DEFAULT_TEXTS.get(name, default_texts.UNKNOWN_TEXT)
    return -text.severity.rank, -count, name


def _equal_titles(summary: HeldSummary) -> Counter[str]:
    """The titles, each with its number; with the name of the project if there are several."""
    has_places = len(summary.projects) > 1
    titles: Counter[str] = Counter()
    for title, place in zip(summary.titles, summary.title_projects, strict=True):
        line = formats.one_line(title, MAX_TITLE_CHARACTERS)
        needs_place = has_places and place and place not in line
        titles[f"{line} · {formats.one_line(place, MAX_PLACE_CHARACTERS)}" if needs_place else line] += 1
    return titles


def _label(summary: HeldSummary, stage: Stage, key: str) -> str:
    match stage:
        case Stage.GROUP:
            return label(summary.group_value)
        case Stage.QUIET:
            return f"quiet hours {key}" if key else ""
        case _:
            return ""


def _first_project(projects: Mapping[str, str]) -> Project:
    project_id, name = next(iter(projects.items()))
    return Project(id=project_id, name=name or project_id)
