"""How each rule stands to an event, as ``route`` decides it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config import Config
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.notification import Severity
from aintandem_notify.rules import Router
from aintandem_notify.rules.effective_rules import Verdict
from support.happenings import NOW, happening, project_of, run_of
from support.routing import FILE, HOOK, SLACK, config, rule

EVENTS = ["*_failed", "task_failed", "task/*", "*", "sandbox/*", "agent/*", "connection/*", "unknown/*"]
CONDITIONS = [None, "run.attempt > 1", "run.attempt > 9", "event.error == 'x'", "1 / 0", "event.timestamp < 3"]
PROJECTS = [None, ("p1",), ("Sal*",), ("other",)]
NOTIFY = ["nobody", "slack.team", "file_log.audit", "slack.team webhook.ops", "file_log.audit slack.team"]

rules = st.lists(
    st.tuples(
        st.lists(st.sampled_from(EVENTS), min_size=1, max_size=2, unique=True),
        st.sampled_from(NOTIFY),
        st.sampled_from(CONDITIONS),
        st.sampled_from(PROJECTS),
    ),
    max_size=6,
)


def made(entries: list[tuple[Any, ...]]) -> Config:
    return config(
        SLACK,
        FILE,
        HOOK,
        *(
            rule(f"r{number}", " ".join(events), notify, when=when, projects=projects)
            for number, (events, notify, when, projects) in enumerate(entries)
        ),
    )


@given(rules, st.sampled_from([*EVENT_TYPES, "gpu_warmed"]))
def test_the_rules_that_match_are_those_that_the_router_takes(entries: list[tuple[Any, ...]], kind: str) -> None:
    settings, event = made(entries), happening(kind)
    about = (event, run_of(event), project_of(event))
    routed = {sent.notification.rule: sent.destinations for sent in Router(settings).route(*about, NOW)}
    traces = Router(settings).trace(*about)
    taking = [trace for trace in traces if trace.verdict is Verdict.MATCH and trace.recipients]
    matched = {trace.rule.name: trace.recipients for trace in taking}
    # The end of the agent's trouble goes to the recipients of the beginning by a rule of its own.
    routed.pop("health", None)
    routed.pop("silence", None)
    assert matched == routed
    assert len(traces) == len({trace.rule.name for trace in traces})


def verdicts(settings: Config, kind: str, **fields: Any) -> dict[str, Verdict]:
    event = happening(kind, **fields)
    traces = Router(settings).trace(event, run_of(event), project_of(event))
    return {trace.rule.name: trace.verdict for trace in traces}


def test_each_rule_has_its_reason() -> None:
    settings = config(
        SLACK,
        FILE,
        rule("other type", "task_completed", "slack.team"),
        rule("other project", "*", "slack.team", projects=("other",)),
        rule("false", "*", "slack.team", when="run.attempt > 9"),
        rule("false, too", "*", "slack.team", when="project.name != 'Sales pipeline'"),
        rule("takes", "*", "slack.team"),
        rule("late", "*", "slack.team"),
        rule("nobody", "*", "nobody"),
        rule("never asked", "*", "file_log.audit"),
    )
    assert verdicts(settings, "task_failed") == {
        "other type": Verdict.OTHER_TYPE,
        "other project": Verdict.OTHER_PROJECT,
        "false": Verdict.WHEN_FALSE,
        "false, too": Verdict.WHEN_FALSE,
        "takes": Verdict.MATCH,
        "late": Verdict.SERVED,
        "nobody": Verdict.MATCH,
        "never asked": Verdict.NOBODY,
        "agent": Verdict.OTHER_TYPE,
    }


def test_a_default_is_for_events_that_no_rule_took_and_that_are_grave_enough() -> None:
    settings = config(SLACK, FILE, rule("feed", "feed_gap", "slack.team", when="event.too_old > 5"))
    assert verdicts(settings, "feed_gap", tooOld=9)["agent"] is Verdict.TAKEN
    assert verdicts(settings, "feed_gap", tooOld=1)["agent"] is Verdict.MATCH
    assert verdicts(settings, "feed_gap", tooOld=0, gone=0)["agent"] is Verdict.TOO_MILD


def test_a_condition_that_raises_counts_as_true_and_shows_its_error_without_a_log() -> None:
    settings = config(SLACK, rule("wrong", "task_failed", "slack.team", when="1 / 0", severity=Severity.ERROR))
    event = happening("task_failed")
    router = Router(settings)
    trace = router.trace(event, run_of(event), project_of(event))[0]
    assert (trace.verdict, trace.error) == (Verdict.MATCH, "ZeroDivisionError: division by zero")
