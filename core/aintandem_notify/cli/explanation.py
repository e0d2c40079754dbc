"""The words for the fate of an event, past or future. Pure: gives sentences, and tables as rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aintandem_notify.cli.times import ago
from aintandem_notify.foundation.clock import iso_seconds, local_time

if TYPE_CHECKING:
    from aintandem_notify.control.explain.schemas import (
        EpisodeOfEventResponse,
        EventExplanation,
        FateResponse,
        RuleVerdictResponse,
    )

MAX_MISSES: Final = 4
"""Rules that nearly matched, of which a sentence says why they did not; the table has them all."""

ENDED_BY: Final = {
    "success": "it works again",
    "hand": "by hand",
    "expiry": "expired",
    "other trouble": "it became other trouble",
}
"""The causes of the end of an episode, in words."""

_NEAR_MISSES: Final = frozenset({"when_false", "other_project"})

FATE_COLUMNS: Final = ("rule", "to", "what", "when", "stage", "delivery")
RULE_COLUMNS: Final = ("rule", "to", "matches", "why")
STAGE_COLUMNS: Final = ("to", "stage", "does", "until", "why")


def clock(moment: datetime | None, now: datetime) -> str:
    """Returns ``at 22:04:10`` for a time of today in local time, else ``on 2026-03-01 at 07:00:00``."""
    if moment is None:
        return "at an unknown time"
    here = iso_seconds(local_time(moment))
    day, _, time = here.partition(" ")
    return f"at {time}" if day == iso_seconds(local_time(now)).partition(" ")[0] else f"on {day} at {time}"


def heading(event: EventExplanation, now: datetime) -> str:
    """Returns the facts by which a person recognises the event."""
    when = f"{iso_seconds(local_time(event.occurred_at))} ({ago(event.occurred_at, now)})"
    run = f"{event.run} ({event.run_id})" if event.run and event.run != event.run_id else event.run_id
    return ", ".join(filter(None, (event.type, run, event.project and f"project {event.project}", when)))


def sentences(event: EventExplanation, now: datetime) -> Iterator[str]:
    """Returns the fate of the event, a sentence for each destination; then why nobody else."""
    is_past = event.key is not None
    for fate in event.fates:
        yield (_past if is_past else _future)(fate, now)
    is_end = any(episode.role == "end" and episode.told for episode in event.episodes)
    if is_end and not event.fates:
        yield "No rule matches; whoever was told of the trouble that it ends is told."
    elif not event.fates:
        yield _nobody(event, is_past=is_past)
    for episode in event.episodes:
        yield _episode(episode, now, is_past=is_past)
    for rule in event.rules:
        if rule.verdict == "match" and "raised" in rule.reason:
            yield f"The rule {rule.rule} matches although it fails: {rule.reason}."
    misses = [rule for rule in event.rules if rule.verdict in _NEAR_MISSES]
    for rule in misses[:MAX_MISSES]:
        yield f"The rule {rule.rule} {'did' if is_past else 'does'} not match: {rule.reason}."
    if event.rules_changed_at is not None:
        changed = clock(event.rules_changed_at, now)
        yield f"The rules have changed since, {changed}: the table has those in use now."
    for note in event.notes:
        yield f"{note[:1].upper()}{note[1:]}."


def _episode(episode: EpisodeOfEventResponse, now: datetime, *, is_past: bool) -> str:
    name = f"the episode {episode.id} of the rule {episode.rule}"
    told = ", ".join(told.destination for told in episode.told)
    of_whom = f"{told} {'were' if len(episode.told) > 1 else 'was'} told" if told else "nobody was told"
    since = f"open since {_until(episode.begun_at, now)}"
    if episode.role == "end":
        return f"It {'ended' if is_past else 'would end'} {name}, {since}: {of_whom} of the trouble."
    if not episode.confirmed:
        so_far = f"{episode.troubles} {'failure' if episode.troubles == 1 else 'failures'} in a row"
        return (
            f"The rule {episode.rule} waits for more: there {'is' if episode.troubles == 1 else 'are'} {so_far}."
        )
    state = since
    if episode.ended_at is not None:
        cause = ENDED_BY.get(episode.ended_by or "", episode.ended_by)
        state = f"from {_until(episode.begun_at, now)} to {_until(episode.ended_at, now)} ({cause})"
    elif episode.acknowledged_at is not None:
        by = f" by {episode.acknowledged_by}" if episode.acknowledged_by else ""
        state = f"{since}, acknowledged{by}"
    times = f", {episode.troubles} times" if episode.troubles > 1 else ""
    return f"It {'belongs' if is_past else 'would belong'} to {name}, {state}{times}: {of_whom}."


def _nobody(event: EventExplanation, *, is_past: bool) -> str:
    start = "Nobody was told" if is_past else "Nobody would be told"
    silencing = next((rule for rule in event.rules if rule.verdict == "match" and not rule.destinations), None)
    if silencing is not None:
        return f"{start}: the rule {silencing.rule} tells nobody of it."
    if not event.rules:
        return f"{start}."
    if any(rule.verdict == "match" for rule in event.rules):  # rules that are newer than the event
        return f"{start}: no rule took it then."
    return f"{start}: no rule matches."


def _past(fate: FateResponse, now: datetime) -> str:
    to, rule = fate.destination, f"through the rule {fate.rule}"
    before = f", after {_join(fate.earlier_stages)} held it" if fate.earlier_stages else ""
    match fate.fate:
        case "delivered":
            held = f" It was held {clock(fate.since, now)}: {fate.stage}, {fate.reason}." if fate.stage else ""
            instead = f", instead of {fate.instead_of}" if fate.instead_of else ""
            return f"Told {to} {clock(fate.at, now)} {rule}{instead}{before}.{held}"
        case "queued":
            due = f", next try {clock(fate.until, now)}" if fate.until is not None and fate.until > now else ""
            why = f": {fate.reason}" if fate.reason and not fate.stage else ""
            return f"Queued for {to} {rule}{due}{before}{why}."
        case "dead":
            return f"Not told to {to} {rule}: given up {clock(fate.at, now)}, {fate.reason or '-'}."
        case "folded":
            return f"Folded {clock(fate.at, now)} into a summary for {to}, {rule}: its queue was too long."
        case "held":
            return f"Held for {to} until {_until(fate.until, now)} {rule}{before}: {fate.stage}, {fate.reason}."
        case "dropped":
            again = f"; the next may pass {clock(fate.until, now)}" if fate.until and fate.until > now else ""
            return f"Never told to {to} {rule}{before}: {fate.stage}, {fate.reason}{again}."
        case "together":
            return _together(fate, now, f"{rule}{before}")
        case _:
            return f"Released for {to} {clock(fate.at, now)} {rule}{before}; its delivery is no longer stored."


def _together(fate: FateResponse, now: datetime, rule: str) -> str:
    summary = fate.summary
    message = f'the message "{summary.title}"' if summary and summary.title else "one message"
    together = f"together with others {rule}: {fate.stage}, {fate.reason}"
    if summary is None or summary.fate == "told":
        return f"Told {fate.destination} {clock(fate.at, now)}, {together}."
    if summary.fate == "delivered":
        return f"Told {fate.destination} {clock(summary.at, now)} in {message}, {together}."
    state = f"is {summary.fate}" + (f" ({summary.reason})" if summary.reason else "")
    return f"In {message} for {fate.destination}, which {state}, {together}."


def _future(fate: FateResponse, now: datetime) -> str:
    to, rule = fate.destination, f"through the rule {fate.rule}"
    if fate.fate == "dropped":
        again = f"; the next may pass {clock(fate.until, now)}" if fate.until is not None else ""
        return f"{to} would never be told of it {rule}: {fate.stage}, {fate.reason}{again}."
    if fate.fate == "now":
        return f"{to} would be told at once {rule}."
    holds = [step for step in fate.steps if step.result == "hold"]
    waits = ", then ".join(f"{step.stage} until {_until(step.until, now)} ({step.reason})" for step in holds)
    return f"{to} would be told {clock(fate.at, now)} {rule}, after {waits}."


def _until(moment: datetime | None, now: datetime) -> str:
    return clock(moment, now).removeprefix("at ").removeprefix("on ")


def _join(names: tuple[str, ...]) -> str:
    return " and ".join(dict.fromkeys(names))


def fate_rows(event: EventExplanation, now: datetime) -> list[tuple[str, ...]]:
    """Returns a row of ``FATE_COLUMNS`` for each rule and destination."""
    return [
        (
            fate.rule,
            fate.destination,
            fate.fate,
            _when(fate, now),
            " and ".join(filter(None, (_join(fate.earlier_stages), fate.stage))) or "-",
            str(fate.delivery or (fate.summary and fate.summary.delivery) or "-"),
        )
        for fate in event.fates
    ]


def _when(fate: FateResponse, now: datetime) -> str:
    moment = fate.until if fate.fate in ("held", "queued") else fate.at
    if moment is None:
        return "-"
    return f"until {_until(moment, now)}" if fate.fate == "held" else _until(moment, now)


def stage_rows(event: EventExplanation, now: datetime) -> list[tuple[str, ...]]:
    """Returns a row of ``STAGE_COLUMNS`` for each stage that would be asked."""
    return [
        (
            fate.destination,
            step.stage,
            {"pass": "lets it pass", "hold": "holds it", "drop": "drops it"}.get(step.result, step.result),
            "-" if step.until is None else _until(step.until, now),
            step.reason + (f"; {step.waiting} wait there already" if step.waiting else ""),
        )
        for fate in event.fates
        for step in fate.steps
    ]


def rule_rows(event: EventExplanation) -> list[tuple[str, ...]]:
    """Returns a row of ``RULE_COLUMNS`` for each rule."""
    return [_rule_row(rule) for rule in event.rules]


def _rule_row(rule: RuleVerdictResponse) -> tuple[str, ...]:
    return (
        rule.rule,
        ", ".join(rule.destinations) or "nobody",
        "yes" if rule.verdict == "match" else "no",
        rule.reason,
    )
