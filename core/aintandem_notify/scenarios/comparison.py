"""Compares the notifications of a scenario with the expected ones. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from aintandem_notify.rules import formats
from aintandem_notify.scenarios.moments import show_moment
from aintandem_notify.scenarios.scenario import Expectation, Scenario
from aintandem_notify.scenarios.timeline import Notified, Timeline
from aintandem_notify.stages.pipeline import Stage
from aintandem_notify.store.stages.untold import Untold

MAX_TITLE_CHARACTERS: Final = 120
"""Characters of a title in a message."""

_MAX_REASONS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A difference between a scenario and its expectations; ``line`` is that of the expectation or the step."""

    line: int | None
    at: datetime | None
    sentence: str


def compare(scenario: Scenario, timeline: Timeline) -> list[Failure]:
    """All differences, by time: notifications that were expected and not told, or told and not expected."""
    failures = _Comparison(scenario, timeline).failures()
    return sorted(failures, key=lambda failure: failure.at or scenario.start)


def matches(expectation: Expectation, notified: Notified) -> bool:
    """True if the notification is one of those that are expected."""
    notification = notified.notification
    return (
        _is_timely(expectation, notified)
        and expectation.to in (None, notified.destination)
        and (expectation.title or "") in notification.title
        and (expectation.text or "") in notification.body
        and expectation.event in (None, notification.event.type)
        and expectation.rule in (None, notification.rule)
        and expectation.severity in (None, notification.severity)
        and (expectation.mention is None or expectation.mention in notification.mentions)
    )


def _is_timely(expectation: Expectation, notified: Notified) -> bool:
    return expectation.at is None or (
        notified.at == expectation.at and expectation.after_steps < notified.steps <= expectation.until_steps
    )


def assign(expectations: Sequence[Expectation], notified: Sequence[Notified]) -> list[list[int]]:
    """The indexes of the notifications that meet each expectation, at most ``count`` each: as many as possible."""
    assigned: list[list[int]] = [[] for _ in expectations]

    def find_place(index: int, tried: set[int]) -> bool:
        for number, expectation in enumerate(expectations):
            if number in tried or not matches(expectation, notified[index]):
                continue
            tried.add(number)
            for position, other in enumerate(assigned[number]):
                if len(assigned[number]) == expectation.count and find_place(other, tried):
                    assigned[number][position] = index
                    return True
            if len(assigned[number]) < expectation.count:
                assigned[number].append(index)
                return True
        return False

    for index in range(len(notified)):
        find_place(index, set())
    return assigned


class _Comparison:
    """One comparison. ``_surplus`` are the notifications that no failure and no expectation has accounted for."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self._scenario = scenario
        self._timeline = timeline
        self._assigned = assign(scenario.expectations, timeline.notified)
        taken = {index for indexes in self._assigned for index in indexes}
        self._surplus = [item for index, item in enumerate(timeline.notified) if index not in taken]

    def failures(self) -> Iterator[Failure]:
        """All differences, in no order."""
        for expectation, indexes in zip(self._scenario.expectations, self._assigned, strict=True):
            if expectation.count == 0:
                yield from self._forbidden(expectation)
            elif len(indexes) < expectation.count:
                yield self._missing(expectation, len(indexes))
        for item in self._surplus:
            yield Failure(
                line=self._timeline.entries[item.steps - 1].line if item.steps else None,
                at=item.at,
                sentence=f"{item.destination} was told {_quoted(item)}, which is not expected",
            )

    def _forbidden(self, expectation: Expectation) -> Iterator[Failure]:
        for item in [item for item in self._timeline.notified if matches(expectation, item)]:
            if item in self._surplus:
                self._surplus.remove(item)
            sentence = (
                f"{expectation.to or 'nobody'} should {'not ' if expectation.to else ''}be told "
                f"{_wanted(expectation)}, but {item.destination} was told {_quoted(item)}"
            )
            yield Failure(line=expectation.line, at=item.at, sentence=sentence)

    def _missing(self, expectation: Expectation, met: int) -> Failure:
        times = f" {expectation.count} times" if expectation.count > 1 else ""
        so_far = f" {met} times" if met else ""
        sentence = f"{expectation.to or 'somebody'} should be told {_wanted(expectation)}{times}, but"
        if met:
            sentence += f" was told it{so_far} only"
        else:
            sentence += f" {self._instead(expectation)}"
        return Failure(line=expectation.line, at=expectation.at, sentence=sentence)

    def _instead(self, expectation: Expectation) -> str:
        """Something else that the destination was told, else the reason why it was told nothing."""
        others = [item for item in self._surplus if expectation.to in (None, item.destination)]
        same_time = [item for item in others if item.at == expectation.at]
        same_text = [item for item in others if matches(_at_any_time(expectation), item)]
        if chosen := [*same_text, *same_time]:
            self._surplus.remove(chosen[0])
            return f"{chosen[0].destination} was told {_quoted(chosen[0])}{self._when(expectation, chosen[0])}"
        reasons = self._reasons(expectation)
        return f"nothing was told{': ' if reasons else ''}{'; '.join(reasons)}"

    def _when(self, expectation: Expectation, item: Notified) -> str:
        """The difference in time, as `` at Mon 22:05:00``; empty if there is none."""
        if expectation.at is None or _is_timely(expectation, item):
            return ""
        if item.at != expectation.at:
            return f" at {self._moment(item.at)}"
        return " by a step below" if item.steps > expectation.until_steps else " by a step further above"

    def _reasons(self, expectation: Expectation) -> list[str]:
        """The holds and drops of the notifications that the expectation may mean."""
        now = {item.id: item for item in self._timeline.untold}
        rows: list[Untold] = [
            now.get(item.id, item)
            for entry in self._timeline.entries
            if expectation.at is None or entry.at <= expectation.at
            for item in entry.untold
            if expectation.to in (None, item.destination)
        ]
        rows = [item for item in rows if expectation.title and expectation.title in item.title] or rows
        counts = Counter(self._reason(item) for item in rows)
        return [f"{count} {reason}" for reason, count in counts.most_common(_MAX_REASONS)]

    def _reason(self, item: Untold) -> str:
        return describe_untold(item, self._moment)

    def _moment(self, moment: datetime) -> str:
        return show_moment(moment, self._scenario.zone, self._scenario.start)


def describe_untold(item: Untold, show: Callable[[datetime], str]) -> str:
    """The decision of the stage in words: ``held by quiet night until Tue 07:00:00``."""
    if item.until is None:
        return f"dropped by {item.stage.label}: {item.reason.removeprefix(f'{item.stage.label}: ')}"
    named = item.stage in (Stage.SILENCES, Stage.QUIET)
    if item.stage is Stage.HELD_BACK_BY:
        return f"held back by open trouble until {show(item.until)} at most"
    return f"held by {item.stage.label}{f' {item.hold_key}' if named else ''} until {show(item.until)}"


def _at_any_time(expectation: Expectation) -> Expectation:
    return replace(expectation, at=None)


def _quoted(item: Notified) -> str:
    return f"“{formats.one_line(item.notification.title, MAX_TITLE_CHARACTERS)}”"


def _wanted(expectation: Expectation) -> str:
    """The expected notification in words: ``“2 tasks failed” with severity critical``."""
    title = "anything" if expectation.count == 0 else "something"
    if expectation.title is not None:
        title = f"“{formats.one_line(expectation.title, MAX_TITLE_CHARACTERS)}”"
    parts = {
        "text": expectation.text and f"“{formats.one_line(expectation.text, MAX_TITLE_CHARACTERS)}”",
        "event": expectation.event,
        "rule": expectation.rule,
        "severity": expectation.severity,
        "mention": expectation.mention,
    }
    more = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
    return f"{title} with {more}" if more else title
