"""Explains how an event stands to episodes: as trouble of one, as its end, or as an effect that waits for it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aintandem_notify.control.episodes.lists import responses_of
from aintandem_notify.control.episodes.schemas import EpisodeResponse
from aintandem_notify.control.explain.schemas import EpisodeOfEventResponse, RuleVerdictResponse
from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.events import Family
from aintandem_notify.domain.notification import Notification
from aintandem_notify.ingest.episode_keeping import NOT_A_CHANGE, confirming, trouble_of
from aintandem_notify.rules.effective_rules import Verdict
from aintandem_notify.stages import episodes
from aintandem_notify.stages.episodes import Episode
from aintandem_notify.stages.facts import Facts
from aintandem_notify.stages.pipeline import Deliver, Drop, Hold, Outcome, Stage, StagePolicy
from aintandem_notify.stages.trouble import FAILURE_TYPES, endings, run_number, trouble_number
from aintandem_notify.store import Store

MAX_EPISODES: Final = 10
"""Episodes of one event that are shown: each rule has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleState:
    """The episodes that decide about an event now, as functions; by default there are none.

    ``current``: the current ones with one of these numbers, of the trouble or its run. ``causes``: the open ones
    of these rules in a project. ``has_success_after``: a run of the subject has succeeded since that time.
    ``describe``: episodes with those who were told of them.
    """

    current: Callable[[Collection[int], Collection[int]], Sequence[Episode]] = lambda _numbers, _runs: ()
    causes: Callable[[Sequence[str], str], Sequence[Episode]] = lambda _rules, _project: ()
    has_success_after: Callable[[int, datetime], bool] = lambda _number, _at: False
    describe: Callable[[Sequence[Episode], StagePolicy], Sequence[EpisodeResponse]] = lambda _found, _policy: ()


def ask_on(policy: StagePolicy, notification: Notification, state: TroubleState) -> tuple[Outcome, str]:
    """The decision of ``on`` about the notification, and the reason."""
    stages, number = policy.stages(notification.rule), policy.subject_number(notification)
    if number is None:
        return Drop(Stage.ON, NOT_A_CHANGE), NOT_A_CHANGE
    event = notification.event
    if event.type in FAILURE_TYPES and state.has_success_after(number, event.timestamp):
        reason = "no change: a run of the subject has succeeded since"
        return Drop(Stage.ON, reason), reason
    found = [episode for episode in state.current([number], ()) if episode.rule == notification.rule]
    before = found[0] if found else None
    needed = confirming(stages, event.type)
    after, takes = episodes.take(before, trouble_of(notification, number), needed)
    in_a_row = "" if needed.confirm == 1 else f", number {after.troubles} in a row"
    if takes:
        return Deliver(), f"the first failure{in_a_row}"
    if before is not None and before.opened_at is not None:
        reason = f"no change: the trouble goes on ({before.id})"
    elif after.opened_at is None:
        reason = f"no change: {after.troubles} of {needed.confirm} failures in a row"
    else:
        reason = NOT_A_CHANGE  # the rule does not tell first failures
    return Drop(Stage.ON, reason), reason


def ask_causes(
    policy: StagePolicy, facts: Facts, received_at: datetime, at: datetime, state: TroubleState
) -> tuple[Outcome, str]:
    """The decision of ``held_back_by`` as of ``at`` about an event of ``received_at``, and the reason."""
    stages = policy.stages(facts.rule)
    until = received_at + timedelta(seconds=stages.hold_at_most)
    if until <= at:
        return Deliver(), "it has waited long enough"
    cause = episodes.holding(
        state.causes(stages.held_back_by, facts.project_id),
        project_id=facts.project_id,
        workflow_id=facts.workflow_id,
        sandbox_id=facts.run_id if facts.family == Family.SANDBOX else "",
    )
    if cause is None:
        return Deliver(), f"no trouble of {' or '.join(stages.held_back_by)} is open nearby"
    return Hold(Stage.HELD_BACK_BY, cause.id, until), describe_cause(cause)


def describe_cause(cause: Episode) -> str:
    """The episode that holds something back: ``trouble of hosts (ep_3f9a2b1c00000000)``."""
    return f"trouble of {cause.rule} ({cause.id})"


def own_numbers(context: EventContext, policy: StagePolicy | None) -> set[int]:
    """The numbers of the trouble that the event is; more than one if rules name subjects by a template."""
    event, run, project = context
    number = trouble_number(event, run)
    found = set() if number is None else {number}
    if policy is not None and number is not None and run is not None and event.type in FAILURE_TYPES:
        found.update(policy.templated_numbers(event, run, project).values())
    return found


def ended_numbers(context: EventContext, policy: StagePolicy | None) -> tuple[set[int], set[int]]:
    """The numbers of the trouble that the event may end, and of its run."""
    event, run, project = context
    found = set(endings(event, run))
    if not found or run is None:
        return found, set()
    if policy is not None:
        found.update(policy.templated_numbers(event, run, project).values())
    return found, {run_number(run)}


def present_episodes(
    context: EventContext, rules: Collection[str], policy: StagePolicy, state: TroubleState
) -> Mapping[str, Sequence[Episode]]:
    """By role of an event that has not happened, the current episodes: those that it joins, those that it ends.

    ``rules`` are those that would take the event.
    """
    own = own_numbers(context, policy)
    joined = [one for one in state.current(own, ()) if one.number in own and one.rule in rules]
    numbers, run_numbers = ended_numbers(context, policy)
    ended = [
        one
        for one in (state.current(numbers, run_numbers) if numbers else ())
        if one.opened_at is not None
        and one.number not in own
        and not episodes.succeed(
            one, context[0].timestamp, confirming(policy.stages(one.rule), one.type)
        ).is_current
        and (one.number in numbers or one.type in FAILURE_TYPES)
    ]
    return {"trouble": joined, "end": ended}


def asked_behind(
    rules: Iterable[RuleVerdictResponse], refusing: Collection[str], took: Collection[str]
) -> tuple[RuleVerdictResponse, ...]:
    """The decisions of rules, of which those in ``refusing`` do not take the event because of their ``on``.

    A rule that ``took`` it although one of them has its destinations was asked instead of it.
    """
    names = dict.fromkeys(refusing)
    return tuple(
        rule.model_copy(
            update={"verdict": Verdict.MATCH.value, "reason": f"{' and '.join(names)} does not take the event"}
        )
        if names and rule.rule in took and rule.verdict == Verdict.SERVED
        else rule
        for rule in rules
    )


def stored_episodes(
    store: Store, context: EventContext, rules: Collection[str], policy: StagePolicy | None
) -> tuple[EpisodeOfEventResponse, ...]:
    """The episodes that the event belongs to, by the rules that took it, and those that it has ended.

    Call it inside a transaction.
    """
    at, own = context[0].timestamp, own_numbers(context, policy)
    numbers, run_numbers = ended_numbers(context, policy)
    if not own and not numbers:
        return ()
    ids = store.traces.episodes_at(own | numbers, run_numbers, at, limit=MAX_EPISODES)
    found = sorted(store.episodes.by_ids(ids), key=lambda episode: ids.index(episode.id))
    roles = {
        episode.id: "trouble" if episode.number in own else "end"
        for episode in found
        if (episode.rule in rules if episode.number in own else episode.ended_at == at)
    }
    shown = [episode for episode in found if episode.id in roles]
    return tuple(
        EpisodeOfEventResponse(**dict(response), role=roles[response.id])
        for response in responses_of(store, shown, policy)
    )
