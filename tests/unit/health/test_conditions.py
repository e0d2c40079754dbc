"""The conditions in which the agent is not well."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from aintandem_notify.delivery import DestinationCondition
from aintandem_notify.delivery.gate import GateState
from aintandem_notify.domain.health import ReasonId
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.reload import RefusedReload
from aintandem_notify.foundation.loop_watchdog import NO_TIME, Block
from aintandem_notify.health.conditions import Condition, Facts, find_conditions, store_trouble
from aintandem_notify.orchestrator import (
    ConnectionState,
    ConnectionTrouble,
    DiscoveryStatus,
    LoginStatus,
    ProjectStatus,
    UnwatchedProjects,
)
from aintandem_notify.plugins import InstanceState, InstanceStatus
from aintandem_notify.store import GivenUp, LivenessReport, QueueStats, StoreState, StoreStatus
from support.outbox import NOW

AFTER_S = 120.0
S, R = ConnectionState, ReasonId


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def project(name: str, state: ConnectionState = S.CONNECTED, seconds: float = 0.0, **fields: Any) -> ProjectStatus:
    """Returns a project that has been in this state for so many seconds."""
    return ProjectStatus(Project(id=name, name=name), state, ago(seconds), **fields)


def destination(
    name: str, state: GateState = GateState.OPEN, since: datetime | None = None, label: str | None = None
) -> DestinationCondition:
    return DestinationCondition(name, label or state.value, state, since, "HTTP 503" if since else None, None)


def instance(name: str, state: InstanceState, reason: str | None = None, seconds: float = 0.0) -> InstanceStatus:
    return InstanceStatus(name, state, reason, ago(seconds), destination=True)


UP = project("up")
WELL = Facts(
    started_at=ago(3600),
    projects=(UP,),
    wanted=1,
    configured=("slack.team", "file_log.a"),
    destinations=(destination("slack.team"), destination("file_log.a")),
    plugins=(instance("slack.team", InstanceState.LOADED), instance("file_log.a", InstanceState.LOADED)),
    store=LivenessReport(0.1),
)
LOST = project("p", S.RECONNECTING, 300, last_error="connection refused", trouble=ConnectionTrouble.LOST)
GONE = project("g", S.RECONNECTING, 50, last_error="unknown", trouble=ConnectionTrouble.GONE)


def conditions(**facts: Any) -> list[Condition]:
    return find_conditions(replace(WELL, **facts), NOW, AFTER_S)


def found(**facts: Any) -> list[tuple[ReasonId, str | None]]:
    """Returns kind and subject of the conditions that nothing else explains."""
    return [condition.key for condition in conditions(**facts) if not condition.covered]


def only(**facts: Any) -> Condition:
    [condition] = [condition for condition in conditions(**facts) if not condition.covered]
    return condition


def test_an_agent_without_trouble_has_no_condition() -> None:
    assert conditions() == []


def test_a_refused_login_is_the_only_trouble_of_an_agent_without_links() -> None:
    condition = only(projects=(LOST,), login=LoginStatus(refused="wrong password", since=ago(10)))
    assert condition.text == "the orchestrator refuses the login: wrong password"
    assert (condition.id, condition.since, condition.wait_s) == (R.LOGIN, ago(10), 0)
    assert condition.announced_as == "login_failed"


def test_without_any_link_the_orchestrator_is_out_of_reach_since_the_last_one_went() -> None:
    other = project("q", S.CONNECTING, 200)
    condition = only(projects=(LOST, other))
    assert condition.text == "no project has a link: connection refused"
    assert (condition.id, condition.since, condition.wait_s) == (R.ORCHESTRATOR, ago(200), AFTER_S)
    unreachable = LoginStatus(unreachable="cannot connect to orch: timeout", since=ago(5))
    assert (
        only(projects=(LOST,), login=unreachable).text == "no project has a link: cannot connect to orch: timeout"
    )


def test_some_links_that_are_down_are_conditions_of_their_own() -> None:
    assert found(projects=(UP, LOST, GONE)) == [(R.LINK, "p"), (R.LINK, "g")]
    lost, gone = conditions(projects=(UP, LOST, GONE))
    assert (lost.text, lost.since, lost.wait_s) == ("project p has no link: connection refused", ago(300), AFTER_S)
    assert gone.text == "project g: unknown"


def test_missed_events_that_cannot_be_looked_up_are_trouble_of_a_project_with_a_link() -> None:
    behind = project("p", lookup_error="HTTP 500", lookup_failed_since=ago(30))
    condition = only(projects=(UP, behind))
    assert (condition.key, condition.since, condition.wait_s) == ((R.LINK, "p"), ago(30), AFTER_S)
    assert condition.text == "project p: missed events cannot be looked up: HTTP 500"


def test_a_link_that_is_down_stays_a_condition_while_all_are() -> None:
    [link] = [condition for condition in conditions(projects=(LOST,)) if condition.id is R.LINK]
    assert link.covered


def test_nothing_is_watched_if_all_projects_are_gone() -> None:
    condition = only(projects=(GONE, project("h", S.RECONNECTING, 40, trouble=ConnectionTrouble.GONE)))
    assert (condition.id, condition.since, condition.wait_s) == (R.NOTHING_WATCHED, ago(40), 0)
    assert condition.text == "the orchestrator knows none of the projects: g, h"


def test_a_glob_without_a_match_is_trouble_also_beside_other_projects() -> None:
    condition = only(discovery=DiscoveryStatus(idle_globs={"sales-*": ago(20), "x*": ago(30)}))
    assert (condition.id, condition.since, condition.text) == (
        R.NOTHING_WATCHED,
        ago(30),
        "no project matches sales-*, x*",
    )


def test_an_agent_without_projects_watches_nothing() -> None:
    assert only(projects=(), wanted=0).id is R.NOTHING_WATCHED
    unknown = only(projects=(), wanted=0, discovery=DiscoveryStatus(has_listed=False))
    assert (unknown.id, unknown.wait_s) == (R.NOTHING_WATCHED, AFTER_S)
    assert conditions(projects=(), wanted=5) == []  # other agents watch them


def test_a_list_that_cannot_be_read_hides_new_projects_or_all() -> None:
    trouble = DiscoveryStatus("HTTP 500", ago(100))
    condition = only(discovery=trouble)
    assert (condition.id, condition.since, condition.wait_s) == (R.DISCOVERY, ago(100), AFTER_S)
    none_known = only(discovery=replace(trouble, has_listed=False), projects=(), wanted=0)
    assert none_known.id is R.ORCHESTRATOR
    assert none_known.text == "no project is known, since the list of projects cannot be read: HTTP 500"
    assert found(discovery=trouble, projects=(LOST,)) == [(R.ORCHESTRATOR, None)]


def test_projects_without_a_place_are_trouble_after_a_while() -> None:
    condition = only(unwatched=UnwatchedProjects(3, ago(10)))
    assert (condition.id, condition.since, condition.wait_s) == (R.CAPACITY, ago(10), AFTER_S)


@pytest.mark.parametrize(
    ("state", "label", "wait_s", "text", "announced_as"),
    [
        (GateState.BACKING_OFF, None, AFTER_S, "slack.team is backing off: HTTP 503", None),
        (GateState.OPEN, None, AFTER_S, "slack.team failed at its last message: HTTP 503", None),
        (GateState.PARKED, None, 0, "slack.team is parked: HTTP 503", "destination_parked"),
        (GateState.DISABLED, None, 0, "slack.team is disabled: HTTP 503", "destination_parked"),
        (GateState.OPEN, "paused", 0, "slack.team is paused by hand", None),
        (GateState.BACKING_OFF, "paused", 0, "slack.team is paused by hand", None),
    ],
)
def test_a_destination_in_trouble(
    state: GateState, label: str | None, wait_s: float, text: str, announced_as: str | None
) -> None:
    condition = only(destinations=(destination("slack.team", state, ago(10), label), destination("file_log.a")))
    assert (condition.key, condition.since) == ((R.DESTINATION, "slack.team"), ago(10))
    assert (condition.wait_s, condition.text, condition.announced_as) == (wait_s, text, announced_as)


def test_a_destination_that_works_may_be_behind() -> None:
    condition = only(
        queues={"slack.team": QueueStats("slack.team", 7, ago(500)), "old": QueueStats("old", 1, NOW)}
    )
    assert (condition.key, condition.since, condition.wait_s) == (
        (R.DESTINATION, "slack.team"),
        ago(500),
        AFTER_S,
    )
    assert condition.text == "slack.team is behind: notifications that wait: 7"


def test_nobody_can_be_notified_once_every_destination_has_mature_trouble() -> None:
    parked, slow = (
        destination("slack.team", GateState.PARKED, ago(10)),
        destination("file_log.a", GateState.BACKING_OFF, ago(119)),
    )
    assert no_destination(parked, slow)[:2] == (ago(10), 11)
    assert no_destination(parked, replace(slow, since=ago(125)))[:2] == (ago(10), 5)
    since, wait_s, text = no_destination(parked, replace(slow, since=ago(500)))
    assert (since, wait_s) == (ago(10), 0)
    assert text == "nobody can be notified: none of slack.team, file_log.a works"


def no_destination(*destinations: DestinationCondition) -> tuple[datetime, float, str]:
    [condition] = [found for found in conditions(destinations=destinations) if found.id is R.NO_DESTINATION]
    return condition.since, condition.wait_s, condition.text


def test_a_destination_without_its_plugin_works_no_more_than_a_parked_one() -> None:
    failed = instance("slack.team", InstanceState.FAILED, "no module", 5)
    assert found(configured=("slack.team",), plugins=(failed,)) == [
        (R.NO_DESTINATION, None),
        (R.PLUGIN, "slack.team"),
    ]


def test_a_config_without_plugins_notifies_nobody() -> None:
    assert found(configured=(), destinations=(), plugins=()) == [(R.NO_DESTINATION, None)]


def test_a_destination_that_is_restarted_by_a_reload_is_no_trouble() -> None:
    assert found(destinations=(), plugins=()) == []


@pytest.mark.parametrize(
    ("state", "reason", "wait_s", "announced_as"),
    [
        (InstanceState.FAILED, "no module", 0, "plugin_failed"),
        (InstanceState.RETRYING, "no bus", AFTER_S, "plugin_failed"),
        (InstanceState.LOADING, None, AFTER_S, None),
        (InstanceState.LOADED, "on_event is overdue", AFTER_S, None),
    ],
)
def test_a_plugin_in_trouble(
    state: InstanceState, reason: str | None, wait_s: float, announced_as: str | None
) -> None:
    condition = only(plugins=(instance("slack.team", state, reason, 10),))
    assert (condition.key, condition.since) == ((R.PLUGIN, "slack.team"), ago(10))
    assert (condition.wait_s, condition.announced_as) == (wait_s, announced_as)


def test_a_plugin_that_the_config_no_longer_has_is_no_trouble() -> None:
    assert conditions(plugins=(*WELL.plugins, instance("old.one", InstanceState.STOPPED, None, 900))) == []


def test_messages_that_were_given_up_are_trouble_of_their_destination() -> None:
    condition = only(given_up={"slack.team": GivenUp(2, ago(60), "invalid_blocks")})
    assert (condition.key, condition.since) == ((R.GIVEN_UP, "slack.team"), ago(60))
    assert condition.text == ("slack.team: 2 notifications were given up, the last one because: invalid_blocks")


def test_a_refused_reload_is_trouble_until_one_is_taken() -> None:
    condition = only(refused_reload=RefusedReload("config.toml:3: unknown key", ago(9)))
    assert (condition.id, condition.since) == (R.RELOAD, ago(9))
    assert condition.text.endswith("config.toml:3: unknown key")


@pytest.mark.parametrize(
    ("report", "problem"),
    [
        (LivenessReport(0.1), None),
        (LivenessReport(30), None),
        (LivenessReport(31), "the store has not answered for 31 s"),
        (LivenessReport(31, "the disk is full"), "the store has not answered for 31 s"),
        (LivenessReport(1, "the disk is full"), "the disk is full"),
    ],
)
def test_the_store_must_answer_and_have_no_trouble(report: LivenessReport, problem: str | None) -> None:
    assert store_trouble(report) == problem
    assert found(store=report) == ([] if problem is None else [(R.STORE, None)])


def test_trouble_of_the_store_counts_from_its_begin() -> None:
    stuck = StoreStatus(StoreState.STUCK, ago(50), "I/O error")
    assert only(store=LivenessReport(1, "I/O error"), store_status=stuck).since == ago(50)
    assert only(store=LivenessReport(40)).since == ago(40)


@pytest.mark.parametrize(("seconds", "is_shown"), [(0, True), (129, True), (131, False)])
def test_a_blocked_loop_is_shown_for_a_while(seconds: float, is_shown: bool) -> None:
    block = Block("mine.bot", "bot.py:7", ago(seconds), 10.0, ended=True)
    assert found(last_block=block) == ([(R.LOOP, None)] if is_shown else [])
    if is_shown:
        assert only(last_block=block).text == "mine.bot (bot.py:7) blocked the whole agent for 10 s"


@pytest.mark.parametrize(
    ("instance_name", "lasted_s", "is_shown"), [("a.b", 1.1, True), (None, 9, False), (None, 11, True)]
)
def test_a_busy_machine_is_no_trouble_of_the_loop(
    instance_name: str | None, lasted_s: float, is_shown: bool
) -> None:
    block = Block(instance_name, "x.py:7", ago(1), lasted_s, ended=False)
    assert found(last_block=block) == ([(R.LOOP, None)] if is_shown else [])


def test_all_reasons_at_once_are_all_found() -> None:
    kinds = found(
        projects=(UP, LOST),
        login=LoginStatus(refused="no", since=NOW),
        discovery=DiscoveryStatus("HTTP 500", NOW, {"x*": NOW}),
        unwatched=UnwatchedProjects(1, NOW),
        destinations=(destination("slack.team", GateState.PARKED, NOW), destination("file_log.a")),
        plugins=(instance("file_log.a", InstanceState.FAILED, "no"),),
        given_up={"slack.team": GivenUp(1, NOW, "no")},
        store=LivenessReport(99),
        refused_reload=RefusedReload("no", NOW),
        last_block=Block("a.b", "x.py:1", NOW, 1.0, ended=True),
    )
    assert {kind for kind, _ in kinds} == {*R} - {R.STARTING, R.ORCHESTRATOR, R.LINK, R.DISCOVERY}


def test_nobody_can_be_notified_no_earlier_because_the_clock_was_set() -> None:
    slow = [destination(name, GateState.BACKING_OFF, ago(5)) for name in WELL.configured]
    before, after = (
        find_conditions(replace(WELL, destinations=slow), now, AFTER_S)[0]
        for now in (NOW, NOW + timedelta(hours=3))
    )
    assert before.key == (R.NO_DESTINATION, None)
    assert (before.since, before.wait_s) == (after.since, after.wait_s) == (ago(5), AFTER_S)


def test_a_project_that_is_gone_is_not_the_only_one_if_other_agents_watch_more() -> None:
    assert found(projects=(GONE,), wanted=5) == [(R.LINK, "g")]


def test_the_search_for_the_projects_of_a_new_config_begins_with_the_config() -> None:
    asked = DiscoveryStatus(has_listed=False, asked_since=ago(3))
    condition = only(projects=(), wanted=0, discovery=asked)
    assert (condition.id, condition.since, condition.wait_s) == (R.NOTHING_WATCHED, ago(3), AFTER_S)


def test_a_new_agent_has_time_to_send_what_waited_while_none_ran() -> None:
    left = QueueStats("slack.team", 7, ago(8 * 3600))
    condition = only(started_at=ago(10), queues={"slack.team": left})
    assert (condition.since, condition.wait_s) == (ago(8 * 3600), 8 * 3600 - 10 + AFTER_S)


def test_a_machine_that_stood_still_for_a_moment_is_no_trouble() -> None:
    assert found(last_block=Block(None, NO_TIME, ago(100), 90, ended=True)) == []
    condition = only(last_block=Block(None, NO_TIME, ago(200), 150, ended=True))
    assert condition.text == "the machine gave the agent no time for 150 s"


def test_a_text_from_outside_is_one_printable_line() -> None:
    refused = RefusedReload("\x1b[31mb\udcffd.toml:\n 3\x00: key", ago(9))
    assert only(refused_reload=refused).text.endswith(r": \x1b[31mb\udcffd.toml: 3\x00: key")
