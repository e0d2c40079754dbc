"""The output of ``rules test``: a line for each scenario, its differences, its course; or all as JSON. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aintandem_notify.scenarios import Entry, Failure, Notified, PlayedScenario, ScenarioResult

MAX_BODY_LINES: Final = 8
"""Lines of a notification's text that the course shows."""
MAX_FAILURES: Final = 20
"""Differences that are shown; JSON has all."""
MAX_ALIKE: Final = 3
"""Events of one step that the course shows; of more, the first and the last."""

_COLUMN: Final = "    "


def result_lines(result: ScenarioResult, *, with_course: bool) -> Iterator[str]:
    """The lines about one file."""
    if result.played is None:
        yield f"WRONG   {result.path}"
        yield from (f"  {line}" for line in str(result.error).split("\n"))
        return
    yield f"{'ok' if result.is_right else 'FAILED':<6}  {result.path}: {result.played.scenario.name}"
    for failure in result.played.failures[:MAX_FAILURES]:
        yield f"  {_describe_failure(failure, result.played)}"
    if (more := len(result.played.failures) - MAX_FAILURES) > 0:
        yield f"  … and {more} more {'difference' if more == 1 else 'differences'}"
    if with_course:
        yield from (f"  {line}" for line in _course(result.played))


def summary(results: Sequence[ScenarioResult]) -> str:
    """The last line, about all files."""
    total, bad = len(results), sum(not result.is_right for result in results)
    scenarios = f"{total} scenario{'' if total == 1 else 's'}"
    if not bad:
        return f"{scenarios}, all as expected"
    return f"{scenarios}, {bad} not as expected"


def report_json(results: Sequence[ScenarioResult]) -> str:
    """The report as JSON in ASCII."""
    return json.dumps({"scenarios": [_result_object(result) for result in results]}, indent=2)


def _result_object(result: ScenarioResult) -> dict[str, Any]:
    problems = [] if result.error is None else result.error.problems
    source = str(result.path) if result.error is None else result.error.source
    found: dict[str, Any] = {
        "file": str(result.path),
        "name": None,
        "ok": result.is_right,
        "problems": [
            {"file": source, "line": problem.line, "key": problem.key, "sentence": problem.message}
            for problem in problems
        ],
        "failures": [],
        "told": [],
        "untold": [],
    }
    played = result.played
    if played is None:
        return found
    return found | {
        "name": played.scenario.name,
        "failures": [
            {"line": failure.line, "at": _iso(failure.at), "sentence": failure.sentence}
            for failure in played.failures
        ],
        "told": [
            {
                "at": _iso(item.at),
                "to": item.destination,
                "title": item.notification.title,
                "text": item.notification.body,
                "event": item.notification.event.type,
                "rule": item.notification.rule,
                "severity": item.notification.severity,
                "mentions": item.notification.mentions,
            }
            for item in played.timeline.notified
        ],
        "untold": [
            {
                "to": item.destination,
                "event": item.event_type,
                "run": item.run_name,
                "rule": item.rule,
                "stage": item.stage.label,
                "reason": item.reason,
                "until": _iso(item.until),
            }
            for item in played.timeline.untold
        ],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _describe_failure(failure: Failure, played: PlayedScenario) -> str:
    place = f"{played.scenario.source}{'' if failure.line is None else f':{failure.line}'}"
    at = "at any time" if failure.at is None else _moment(failure.at, played)
    return f"{place}: {at}: {failure.sentence}"


def _moment(moment: datetime, played: PlayedScenario) -> str:
    from aintandem_notify.scenarios import show_moment

    return show_moment(moment, played.scenario.zone, played.scenario.start)


def _course(played: PlayedScenario) -> Iterator[str]:
    """The steps and the notifications in their order."""
    ordered: list[tuple[tuple[int, int], Entry | Notified]] = [
        *(((number, 0), entry) for number, entry in enumerate(played.timeline.entries, 1)),
        *(((item.steps, 1), item) for item in played.timeline.notified),
    ]
    items = [item for _, item in sorted(ordered, key=itemgetter(0))]
    yield f"times are those of {played.scenario.zone.key}"
    for line, group in groupby(items, key=lambda item: getattr(item, "line", object())):
        together = list(group)
        for number, item in enumerate(together):
            if len(together) > MAX_ALIKE and 0 < number < len(together) - 1:
                if number == 1:
                    yield f"{_COLUMN}… and {len(together) - 2} like it"
                continue
            yield from _item_lines(item, line, played)
    for reason, count in _still_untold(played).items():
        yield f"{'at the end':<14}{reason}{'' if count == 1 else f', {count} times'}"


def _item_lines(item: Entry | Notified, line: object, played: PlayedScenario) -> Iterator[str]:
    from aintandem_notify.scenarios import Notified, describe_untold

    start = f"{_moment(item.at, played):<14}"
    indent = " " * len(start)
    if isinstance(item, Notified):
        notification = item.notification
        origin = f"({notification.severity}, rule {notification.rule})"
        yield f"{start}-> {item.destination}: {notification.title}  {origin}"
        body = notification.body.split("\n") if notification.body else []
        if len(body) > MAX_BODY_LINES:
            body[MAX_BODY_LINES - 2 : -2] = ["…"]
        yield from (f"{indent}   | {text}" for text in body)
        return
    yield f"{start}{item.text}{'' if line is None else f'  (line {line})'}"
    if item.remark:
        yield f"{indent}   {item.remark}"
    effects = Counter(
        f"{untold.destination}: {describe_untold(untold, lambda moment: _moment(moment, played))}"
        for untold in item.untold
    )
    yield from (
        f"{indent}   {effect}{'' if count == 1 else f', {count} times'}" for effect, count in effects.items()
    )


def _still_untold(played: PlayedScenario) -> Counter[str]:
    from aintandem_notify.scenarios import describe_untold

    return Counter(
        f"{item.destination}: {item.event_type} {item.run_name} is "
        f"{describe_untold(item, lambda moment: _moment(moment, played))}"
        for item in played.timeline.untold
        if not item.is_dropped
    )
