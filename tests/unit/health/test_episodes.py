"""The begin and the end of trouble, and the notices about them."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from aintandem_notify.domain.events import AgentDegradedEvent, DestinationParkedEvent, LoginFailedEvent
from aintandem_notify.domain.health import UNREADY_BY_DEFAULT, HealthState, Reason, ReasonId
from aintandem_notify.health.conditions import Condition
from aintandem_notify.health.episodes import (
    MAX_PAUSE_S,
    Changes,
    Episode,
    EpisodeBook,
    Evidence,
    health_of,
    recovery,
)
from support.outbox import NOW

AFTER_S = 120.0
R = ReasonId


def link(subject: str, *, began_s: float = 0.0, covered: bool = False) -> Condition:
    """Returns a link that has been down since so many seconds after NOW."""
    return Condition(
        R.LINK, f"{subject} is down", moment(began_s), subject=subject, wait_s=AFTER_S, covered=covered
    )


def unreachable(began_s: float = 0.0) -> Condition:
    return Condition(R.ORCHESTRATOR, "no project has a link", moment(began_s), wait_s=AFTER_S)


def moment(at_s: float) -> datetime:
    return NOW + timedelta(seconds=at_s)


class Agent:
    """A book that is asked at times of the test's choice, with a wall clock that may be set."""

    def __init__(self) -> None:
        self.book = EpisodeBook()
        self.clock_error_s = 0.0

    def at(self, at_s: float, *conditions: Condition, **evidence: Any) -> Changes:
        return self.book.update(conditions, moment(at_s + self.clock_error_s), at_s, Evidence(**evidence))

    def shown(self, at_s: float, *conditions: Condition) -> list[tuple[str, str | None]]:
        reasons = self.book.reasons(conditions, moment(at_s + self.clock_error_s), at_s)
        return [(reason.id.value, reason.subject) for reason in reasons]

    def notices(self, at_s: float, **options: Any) -> list[AgentDegradedEvent]:
        """Returns the notices that are due, and records them as sent."""
        due = self.book.due_notices(at_s, excluded=(), unready=UNREADY_BY_DEFAULT, **options)
        for event in due:
            self.book.record_notice(event, at_s, AFTER_S)
        return due

    def ends(self, at_s: float) -> list[list[str | None]]:
        """Returns the subjects of the ends that are due, and records them as notified."""
        due = list(self.book.due_ends(moment(at_s), AFTER_S).values())
        for episodes in due:
            self.book.record_end(episodes, AFTER_S)
        return [[episode.condition.subject for episode in episodes] for episodes in due]


def subjects(notices: list[AgentDegradedEvent]) -> list[tuple[str, ...]]:
    return [event.subjects for event in notices]


def test_a_condition_becomes_a_reason_after_its_time_and_ends_at_once() -> None:
    agent, down = Agent(), link("p")
    assert agent.at(0, down) == Changes()
    assert agent.at(119, down) == Changes()
    assert agent.shown(119, down) == []
    assert [reason.subject for reason in agent.at(120, down).began] == ["p"]
    assert agent.at(121, down) == Changes()
    assert agent.shown(121, down) == [("link", "p")]
    assert agent.shown(122) == []
    assert [episode.condition.subject for episode in agent.at(122).ended] == ["p"]


def test_a_question_between_two_checks_gets_the_answer_of_its_moment() -> None:
    agent, down = Agent(), link("p")
    agent.at(0, down)
    assert agent.shown(120, down) == [("link", "p")]
    assert agent.book.open == {}


def test_trouble_that_began_before_the_process_counts_from_its_begin() -> None:
    assert len(Agent().at(0, link("p", began_s=-500)).began) == 1


def test_a_clock_that_is_set_neither_delays_nor_hastens_a_reason() -> None:
    agent, down = Agent(), link("p")
    agent.at(0, down)
    agent.clock_error_s = -36_000
    assert agent.at(119, down) == Changes()
    assert len(agent.at(120, down).began) == 1
    agent = Agent()
    agent.at(0, down)
    agent.clock_error_s = 365 * 86_400
    assert agent.at(60, down) == Changes()


def test_trouble_that_comes_back_before_its_time_begins_anew() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(100)
    again = link("p", began_s=110)
    agent.at(110, again)
    assert agent.at(200, again) == Changes()
    assert len(agent.at(230, again).began) == 1


def test_a_reason_shows_its_latest_text_and_its_first_begin() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    later = replace(link("p", began_s=90), text="refused")
    agent.at(130, later)
    [reason] = agent.book.reasons([later], moment(130), 130)
    assert (reason.text, reason.since) == ("refused", NOW)


def test_one_notice_is_sent_for_all_trouble_of_a_kind_that_begins_at_a_time() -> None:
    agent = Agent()
    down = [link(name) for name in "abc"]
    agent.at(0, *down)
    agent.at(120, *down)
    [notice] = agent.notices(120)
    assert notice.subjects == ("a", "b", "c")
    assert notice.reason.splitlines()[0] == f"a is down (since {NOW:%Y-%m-%d %H:%M:%S} UTC)"
    assert agent.notices(121) == []


def test_a_long_notice_lists_the_first_reasons_and_names_the_others() -> None:
    agent = Agent()
    down = [link(f"p{number}") for number in range(15)]
    agent.at(0, *down)
    agent.at(120, *down)
    [notice] = agent.notices(120)
    assert len(notice.subjects) == 15
    assert notice.reason.splitlines()[10:] == ["and 5 more: p10, p11, p12 and 2 more"]


def test_trouble_that_goes_on_and_on_beginning_is_told_in_one_notice_per_pause() -> None:
    agent = Agent()
    agent.at(0, link("a"))
    agent.at(30, link("a"), link("b", began_s=30))
    agent.at(120, link("a"), link("b", began_s=30))
    assert subjects(agent.notices(120)) == [("a",)]
    agent.at(150, link("a"), link("b", began_s=30))
    assert agent.notices(150) == []
    assert subjects(agent.notices(240)) == [("b",)]


def test_trouble_that_comes_and_goes_is_told_less_and_less_often() -> None:
    agent, sent = Agent(), list[float]()
    for number in range(600):
        at_s = number * 300.0
        down = link("p", began_s=at_s)
        agent.at(at_s, down)
        agent.at(at_s + 200, down)
        sent += [at_s + 200] * len(agent.notices(at_s + 200))
        agent.at(at_s + 250)
        agent.ends(at_s + 250)
    pauses = [later - earlier for earlier, later in pairwise(sent)]
    assert pauses[0] == 300
    assert pauses == sorted(pauses)
    assert set(pauses[6:]) == {MAX_PAUSE_S}


def test_the_pause_begins_anew_after_an_hour_without_trouble() -> None:
    agent = Agent()
    for at_s in (0.0, 300.0, 20_000.0):
        down = link("p", began_s=at_s)
        agent.at(at_s, down)
        agent.at(at_s + 120, down)
        assert len(agent.notices(at_s + 120)) == 1
        agent.at(at_s + 130)
        agent.ends(at_s + 130)
    soon = link("p", began_s=20_131)
    agent.at(20_131, soon)
    agent.at(20_252, soon)
    assert len(agent.notices(20_252)) == 1


def test_an_end_is_told_at_once_and_only_if_the_begin_was_told() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    agent.at(121)
    assert agent.ends(121) == []
    again = link("p", began_s=130)
    agent.at(130, again)
    agent.at(250, again)
    agent.notices(250)
    agent.at(251)
    assert agent.ends(251) == [["p"]]
    assert agent.ends(252) == []


def test_what_began_with_one_notice_ends_with_one_unless_some_of_it_lasts() -> None:
    agent, down = Agent(), [link(name) for name in "abc"]
    agent.at(0, *down)
    agent.at(120, *down)
    agent.notices(120)
    agent.at(130, *down[1:])
    assert agent.ends(130) == []
    agent.at(140, down[2])
    assert agent.ends(140) == []
    assert agent.ends(250) == [["a", "b"]]
    agent.at(260)
    assert agent.ends(260) == [["c"]]


def test_trouble_that_is_back_before_its_end_was_told_goes_on_without_a_notice() -> None:
    agent, down = Agent(), [link(name) for name in "ab"]
    agent.at(0, *down)
    agent.at(120, *down)
    agent.notices(120)
    agent.at(130, down[1])
    old = link("a", began_s=-500)
    agent.at(131, old, down[1])
    assert agent.notices(1000) == []
    agent.at(1001)
    assert agent.ends(1001) == [["b", "a"]]


def test_no_notice_is_sent_while_other_trouble_explains_it() -> None:
    agent = Agent()
    agent.at(0, link("p", covered=True), unreachable())
    changes = agent.at(120, link("p", covered=True), unreachable())
    assert [reason.id for reason in changes.began] == [R.ORCHESTRATOR]
    assert agent.shown(120, link("p", covered=True), unreachable()) == [("orchestrator", None)]
    assert [event.kind for event in agent.notices(120)] == ["orchestrator"]


def test_links_get_time_to_come_back_after_the_orchestrator() -> None:
    agent = Agent()
    agent.at(0, link("p", covered=True), link("q", covered=True), unreachable())
    agent.at(1000, link("p", covered=True), link("q", covered=True), unreachable())
    assert agent.shown(1001, link("q")) == []
    agent.at(1002, link("q"))
    assert agent.shown(1002, link("q")) == []
    assert agent.at(1121, link("q")) == Changes()
    assert [reason.subject for reason in agent.at(1122, link("q")).began] == ["q"]


def test_a_reason_stays_shown_while_other_trouble_explains_it() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    assert agent.shown(130, link("p", covered=True), unreachable(130)) == [("link", "p")]


def test_trouble_with_an_event_of_its_own_has_no_other_notice_but_its_recipients_learn_of_the_end() -> None:
    agent = Agent()
    refused = Condition(R.LOGIN, "refused", NOW, announced_as="login_failed")
    parked = Condition(R.DESTINATION, "parked", NOW, subject="slack.team", announced_as="destination_parked")
    announced = LoginFailedEvent(timestamp=NOW, reason="refused")
    agent.book.note_announced(announced)
    agent.at(0, refused, parked)
    later = DestinationParkedEvent(timestamp=NOW, instance="slack.team", reason="revoked")
    agent.book.note_announced(later)
    agent.at(1, refused, parked)
    assert agent.notices(2) == []
    agent.at(3)
    ended = agent.book.due_ends(moment(3), AFTER_S)
    assert ended.keys() == {announced.key, later.key}
    agent.book.record_end([episode for episodes in ended.values() for episode in episodes], AFTER_S)
    agent.at(4, refused)
    agent.at(5)
    assert agent.ends(5) == []  # the announcement belonged to the episode before


def test_nobody_is_told_that_nobody_can_be_told() -> None:
    agent = Agent()
    agent.at(0, Condition(R.NO_DESTINATION, "none works", NOW))
    assert agent.notices(0) == []


def test_a_restart_forgets_neither_the_begin_nor_the_notice() -> None:
    before = Agent()
    before.at(0, link("p"), link("q"))
    before.at(120, link("p"), link("q"))
    before.notices(120)
    before.at(125, link("p"))
    after = Agent()
    after.book.restore(before.book.to_json())
    fresh = link("p", began_s=130)
    after.at(130, fresh, is_starting=True)
    assert after.shown(130, fresh) == [("link", "p")]
    assert after.notices(131) == []
    after.at(132)
    assert after.ends(132) == [["q", "p"]]


def test_a_new_agent_keeps_trouble_that_it_cannot_know_of_yet() -> None:
    before = Agent()
    refused = Condition(R.LOGIN, "refused", NOW, announced_as="login_failed")
    reload = Condition(R.RELOAD, "refused", NOW)
    before.at(0, refused, reload)
    after = Agent()
    after.book.restore(before.book.to_json())
    assert [reason.id for reason in after.book.carried([], Evidence(is_starting=True))] == [R.LOGIN]
    assert [episode.condition.id for episode in after.at(1, is_starting=True).ended] == [R.RELOAD]
    assert [episode.condition.id for episode in after.at(2).ended] == [R.LOGIN]


def test_a_text_of_another_version_is_ignored() -> None:
    for text in (None, "", "[]", "{}", "[1]", '[{"id": "unheard_of"}]', "not json", '[{"id": "link"}]', "null"):
        book = EpisodeBook()
        book.restore(text)
        assert (book.open, book.ended) == ({}, {})
    assert EpisodeBook().to_json() is None


def test_another_text_is_no_reason_to_write_to_the_store() -> None:
    agent, values = Agent(), set[object]()
    for at_s in range(0, 400, 2):
        agent.at(at_s, replace(link("p"), text=f"down for {at_s} s"))
        values.add(agent.book.milestones())
    assert len(values) == 2


def test_the_event_of_an_end_names_begin_subjects_and_length() -> None:
    episodes = [
        Episode(link("a"), "key", moment(500)),
        Episode(link("b", began_s=-10), "key", moment(510)),
    ]
    event = recovery(episodes, ["slack.team"])
    assert (event.kind, event.subjects, event.seconds) == ("link", ("a", "b"), 520)
    assert (event.begun_by, event.recipients, event.timestamp) == ("key", ("slack.team",), moment(510))


def test_the_state_is_that_of_the_gravest_reason() -> None:
    lost = Reason(R.LINK, "p is down", NOW, "p")
    refused = Reason(R.LOGIN, "refused", NOW)
    assert health_of([], UNREADY_BY_DEFAULT).state is HealthState.WELL
    degraded = health_of([lost], UNREADY_BY_DEFAULT)
    assert (degraded.state, degraded.is_ready, degraded.summary()) == (
        HealthState.DEGRADED,
        True,
        "degraded: p is down",
    )
    failing = health_of([lost, refused], UNREADY_BY_DEFAULT)
    assert (failing.state, failing.is_ready, failing.summary()) == (
        HealthState.FAILING,
        False,
        "failing: refused; p is down",
    )
    assert health_of([lost], [R.LINK]).state is HealthState.FAILING
    starting = health_of([Reason(R.STARTING, "1 of 1 projects are not connected yet", NOW)], UNREADY_BY_DEFAULT)
    assert (starting.state, starting.is_ready) == (HealthState.DEGRADED, False)
    many = health_of([replace(lost, text=f"p{number}") for number in range(5)], UNREADY_BY_DEFAULT)
    assert many.summary() == "degraded: p0; p1; p2; and 2 more"


def test_a_link_of_a_project_that_is_not_listed_yet_is_not_over() -> None:
    before = Agent()
    before.at(0, link("sales-1"))
    before.at(120, link("sales-1"))
    before.notices(120)
    after = Agent()
    after.book.restore(before.book.to_json())
    unlisted = Evidence(is_starting=True, has_listed=False)
    assert after.at(125, is_starting=True, has_listed=False) == Changes()
    assert [reason.subject for reason in after.book.carried([], unlisted)] == ["sales-1"]
    assert after.at(400, has_listed=False) == Changes(), "the list cannot be read for long"
    again = link("sales-1", began_s=401)
    assert after.at(401, again, projects={"sales-1"}) == Changes()
    assert after.notices(401) == []
    after.at(402, projects={"sales-1"})
    assert after.ends(402) == [["sales-1"]]


def test_a_link_that_is_known_to_be_open_is_over_at_once_even_at_the_start() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    assert len(agent.at(121, is_starting=True, projects={"p"}).ended) == 1


def test_what_ends_bit_by_bit_is_told_less_and_less_often() -> None:
    agent, down = Agent(), [link(f"p{number}") for number in range(1000)]
    agent.at(0, *down)
    agent.at(120, *down)
    agent.notices(120)
    told: list[float] = []
    for number in range(1, 1000):
        at_s = 120.0 + number * 20
        agent.at(at_s, *down[number:])
        told += [at_s] * len(agent.ends(at_s))
    assert len(told) < 10
    agent.at(30_000)
    assert len(agent.ends(30_000)) == 1


def test_trouble_that_ends_while_its_notice_is_being_stored_has_its_end_told() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    [event] = agent.book.due_notices(120, excluded=(), unready=())
    agent.book.assign_notice(event)
    agent.at(121)
    agent.book.record_notice(event, 121, AFTER_S)
    assert agent.ends(122) == [["p"]]


def test_a_notice_that_cannot_be_stored_is_due_again() -> None:
    agent, down = Agent(), [link("p"), link("q")]
    agent.at(0, *down)
    agent.at(120, *down)
    [event] = agent.book.due_notices(120, excluded=(), unready=())
    agent.book.assign_notice(event)
    agent.at(121, down[0])
    agent.book.withdraw_notice(event)
    assert agent.ends(121) == []
    assert subjects(agent.notices(121)) == [("p",)]


def test_trouble_that_is_back_while_its_end_is_being_stored_is_told_anew() -> None:
    agent = Agent()
    agent.at(0, link("p"))
    agent.at(120, link("p"))
    agent.notices(120)
    agent.at(121)
    [ended] = agent.book.due_ends(moment(121), AFTER_S).values()
    agent.at(122, link("p", began_s=-9))
    agent.book.record_end(ended, AFTER_S)
    assert agent.shown(123, link("p")) == [("link", "p")]
    assert subjects(agent.notices(1000)) == [("p",)]


def test_trouble_whose_own_event_reaches_nobody_is_told_like_any_other() -> None:
    agent = Agent()
    parked = Condition(R.DESTINATION, "parked", NOW, subject="slack.team", announced_as="destination_parked")
    own = DestinationParkedEvent(timestamp=NOW, instance="slack.team", reason="revoked")
    agent.book.note_announced(own, reaches_somebody=False)
    agent.at(0, parked)
    assert subjects(agent.notices(0)) == [("slack.team",)]
    agent.at(1)
    assert agent.ends(1) == [["slack.team"]]


def test_an_agent_that_could_not_read_its_store_at_the_start_joins_both_later() -> None:
    before = Agent()
    before.at(0, link("p"), link("q"))
    before.at(120, link("p"), link("q"))
    before.notices(120)
    before.at(121, link("p"))
    after = Agent()
    again = [link("p", began_s=130), link("q", began_s=130)]
    after.at(130, *again)
    after.at(250, *again)
    after.book.restore(before.book.to_json())
    assert after.notices(250) == []
    after.at(251)
    assert after.ends(251) == [["p", "q"]]


def test_odd_text_in_the_store_is_ignored() -> None:
    entry = {
        "id": "link",
        "text": "x",
        "since": "2026-01-01T00:00:00Z",
        "subject": "p",
        "announced_as": None,
        "notice": None,
        "ended_at": None,
    }
    good = EpisodeBook()
    good.restore(json.dumps([entry]))
    assert good.open
    odd: tuple[dict[str, Any], ...] = (
        {"since": "2026-01-01T00:00:00"},
        {"subject": ["p"]},
        {"notice": {}},
        {"announced_as": 1},
    )
    for text in (*(json.dumps([entry | change]) for change in odd), "[" * 100_000):
        book = EpisodeBook()
        book.restore(text)
        assert (book.open, book.ended) == ({}, {})
