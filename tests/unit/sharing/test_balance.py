"""Sharing projects among agents: a table of transfers, and properties that hold in any order of events."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.sharing.balance import (
    GIVE_COOLDOWN_S,
    PATIENCE_ROUNDS,
    ProjectTransfer,
    Rebalancer,
    SharingGroup,
    plan_transfer,
)

ROUND_S = 3.0


@pytest.mark.parametrize(
    ("counts", "wanted", "free", "rounds", "transfer"),
    [
        # a single agent takes everything at once
        ({"a": 0}, 0, 0, 0, ProjectTransfer()),
        ({"a": 0}, 7, 7, 0, ProjectTransfer(take=7)),
        ({"a": 7}, 7, 0, 0, ProjectTransfer()),
        # two agents take half each, and the remainder goes to the first
        ({"a": 0, "b": 0}, 7, 7, 0, ProjectTransfer(take=4)),
        ({"a": 3, "b": 0}, 7, 4, 0, ProjectTransfer(take=1)),
        ({"a": 4, "b": 0}, 7, 3, 0, ProjectTransfer()),
        ({"a": 5, "b": 0}, 7, 2, 0, ProjectTransfer()),
        # after some rounds any agent takes the projects that stayed free
        ({"a": 4, "b": 0}, 7, 3, PATIENCE_ROUNDS - 1, ProjectTransfer()),
        ({"a": 4, "b": 0}, 7, 3, PATIENCE_ROUNDS, ProjectTransfer(take=3)),
        # an agent gives nothing while projects are free, or while no agent is below its share
        ({"a": 6, "b": 0}, 7, 1, 0, ProjectTransfer()),
        ({"a": 4, "b": 3}, 7, 0, 0, ProjectTransfer()),
        ({"a": 2, "b": 1, "c": 1}, 4, 0, 0, ProjectTransfer()),
        # a new agent gets its share from those that have the most
        ({"a": 7, "b": 0}, 7, 0, 0, ProjectTransfer(give=3)),
        ({"a": 0, "b": 7}, 7, 0, 0, ProjectTransfer()),
        ({"a": 3, "b": 3, "c": 3, "d": 1}, 10, 0, 0, ProjectTransfer()),
        ({"c": 3, "b": 3, "d": 3, "a": 1}, 10, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 5, "c": 0}, 10, 0, 0, ProjectTransfer(give=1)),
        ({"a": 5, "b": 5, "c": 0}, 9, 0, 0, ProjectTransfer(give=2)),
        # with fewer projects than agents some have none, which is their share
        ({"a": 1, "b": 1, "c": 0}, 2, 0, 0, ProjectTransfer()),
        ({"a": 2, "b": 0, "c": 0}, 2, 0, 0, ProjectTransfer(give=1)),
    ],
)
def test_a_transfer(
    counts: Mapping[str, int], wanted: int, free: int, rounds: int, transfer: ProjectTransfer
) -> None:
    assert plan_transfer(SharingGroup("a", wanted, counts), free=free, rounds=rounds) == transfer


@pytest.mark.parametrize(
    ("counts", "places", "wanted", "free", "rounds", "transfer"),
    [
        # an agent takes no more than it has places for, however long projects are free
        ({"a": 0}, {"a": 5}, 7, 7, 0, ProjectTransfer(take=5)),
        ({"a": 5}, {"a": 5}, 7, 2, 0, ProjectTransfer()),
        ({"a": 5}, {"a": 5}, 7, 2, 99, ProjectTransfer()),
        ({"a": 4, "b": 0}, {"a": 5}, 7, 3, PATIENCE_ROUNDS, ProjectTransfer(take=1)),
        # an agent takes projects at once that another one has no place for
        ({"a": 0, "b": 2}, {"b": 2}, 7, 5, 0, ProjectTransfer(take=5)),
        ({"a": 0, "b": 2, "c": 0}, {"b": 2}, 8, 6, 0, ProjectTransfer(take=3)),
        # no agent gives to a full one
        ({"a": 5, "b": 2}, {"b": 2}, 7, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 1}, {"b": 2}, 6, 0, 0, ProjectTransfer(give=1)),
        # an agent gives back projects that it has no place for, whether or not another one needs them
        ({"a": 7}, {"a": 5}, 7, 0, 0, ProjectTransfer(give=2)),
        ({"a": 6, "b": 3}, {"a": 5}, 12, 3, PATIENCE_ROUNDS, ProjectTransfer(give=1)),
        # all agents are full except a new one
        ({"a": 5, "b": 5, "c": 0}, {"a": 5, "b": 5}, 30, 20, 9, ProjectTransfer()),
        ({"c": 5, "b": 5, "a": 0}, {"c": 5, "b": 5}, 30, 20, 0, ProjectTransfer(take=20)),
        ({"c": 5, "b": 5, "a": 2}, {"c": 5, "b": 5}, 12, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 5, "c": 2}, {"a": 5, "b": 5}, 12, 0, 0, ProjectTransfer(give=1)),
        # more places than projects are no limit
        ({"a": 0, "b": 0}, {"a": 99, "b": 99}, 7, 7, 0, ProjectTransfer(take=4)),
    ],
)
def test_a_transfer_with_limited_places(
    counts: Mapping[str, int],
    places: Mapping[str, int],
    wanted: int,
    free: int,
    rounds: int,
    transfer: ProjectTransfer,
) -> None:
    assert plan_transfer(SharingGroup("a", wanted, counts, places), free=free, rounds=rounds) == transfer


COUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=6)
PLACES = st.one_of(st.none(), st.integers(1, 15))


def group(counts: list[int], places: list[int | None], wanted: int) -> SharingGroup:
    names = [f"agent{n}" for n in range(len(counts))]
    limits = {name: limit for name, limit in zip(names, places, strict=False) if limit is not None}
    return SharingGroup(names[0], wanted, dict(zip(names, counts, strict=True)), limits)


@given(COUNTS, st.lists(PLACES, min_size=6, max_size=6), st.integers(0, 60))
def test_shares_fill_all_places_and_are_as_even_as_the_limits_allow(
    counts: list[int], places: list[int | None], wanted: int
) -> None:
    sharing = group(counts, places, wanted)
    shares = sharing.shares()
    limits = {name: sharing.places.get(name, math.inf) for name in shares}
    assert sum(shares.values()) == min(wanted, sum(limits.values()))
    assert all(0 <= share <= limits[name] for name, share in shares.items())
    # An agent that has two fewer than another one is full.
    assert all(shares[name] >= max(shares.values()) - 1 for name in shares if shares[name] < limits[name])


@given(COUNTS, st.lists(PLACES, min_size=6, max_size=6), st.integers(0, 60))
def test_evenly_shared_projects_stay_where_they_are(
    counts: list[int], places: list[int | None], wanted: int
) -> None:
    shares = group(counts, places, wanted).shares()
    again = group(list(shares.values()), places, wanted)
    assert again.shares() == shares
    for name in shares:
        mine = SharingGroup(name, wanted, shares, again.places)
        for rounds in (0, PATIENCE_ROUNDS):
            assert plan_transfer(mine, free=wanted - sum(shares.values()), rounds=rounds) == ProjectTransfer()


@given(st.data(), st.integers(1, 6), st.integers(0, 40))
def test_all_agents_reach_their_shares_soon_from_any_start(data: st.DataObject, agents: int, wanted: int) -> None:
    """In any order of the rounds. An agent that was restarted with a lower limit may have too many at first."""
    names = [f"agent{n}" for n in range(agents)]
    places = {name: limit for name in names if (limit := data.draw(PLACES)) is not None}
    owners: list[str | None] = data.draw(
        st.lists(st.sampled_from([None, *names]), min_size=wanted, max_size=wanted)
    )
    for _ in range(3 + agents):
        for me in data.draw(st.permutations(names)):
            counts = {name: owners.count(name) for name in names}
            transfer = plan_transfer(SharingGroup(me, wanted, counts, places), free=owners.count(None), rounds=0)
            assert 0 <= transfer.take <= owners.count(None)
            assert 0 <= transfer.give <= counts[me]
            take(owners, None, me, transfer.take)
            take(owners, me, None, transfer.give)
    counts = {name: owners.count(name) for name in names}
    assert counts == SharingGroup(names[0], wanted, counts, places).shares()


def take(owners: list[str | None], old_owner: str | None, new_owner: str | None, count: int) -> None:
    for _ in range(count):
        owners[owners.index(old_owner)] = new_owner


@given(st.integers(0, 40), st.lists(st.integers(0, 20), min_size=1, max_size=6), st.lists(PLACES, min_size=6))
def test_all_agents_together_give_exactly_the_missing_projects(
    rounds: int, counts_before: list[int], places: list[int | None]
) -> None:
    """All agents see the same counts and act at the same time."""
    sharing = group(
        counts_before,
        [None if limit is None else max(limit, n) for n, limit in zip(counts_before, places, strict=False)],
        0,
    )
    counts, wanted = sharing.counts, sum(counts_before)
    shares = SharingGroup(sharing.me, wanted, counts, sharing.places).shares()
    given = {
        name: plan_transfer(SharingGroup(name, wanted, counts, sharing.places), free=0, rounds=rounds).give
        for name in counts
    }
    assert sum(given.values()) == sum(max(0, share - counts[name]) for name, share in shares.items())
    assert all(counts[name] - given[name] >= shares[name] for name in counts if given[name])


@dataclass
class FakeAgent:
    """An agent, with the number of projects that it published last."""

    places: int | None
    published_count: int = 0
    rebalancer: Rebalancer = field(default_factory=Rebalancer)
    unwatched: int = 0


@dataclass
class FakeFleet:
    """Agents that act one after the other, like transactions, and publish their counts now and then."""

    owners: list[str | None]
    agents: dict[str, FakeAgent] = field(default_factory=dict)
    now_s: float = 0.0
    joined: int = 0
    transfer_count: int = 0

    def join(self, places: int | None) -> None:
        self.joined += 1
        self.agents[f"agent{self.joined}"] = FakeAgent(places)

    def die(self, name: str) -> None:
        del self.agents[name]
        self.owners = [None if owner == name else owner for owner in self.owners]

    def act(self, me: str, *, publishes: bool) -> None:
        """One round of one agent, as in ``project_assignment``; ``publishes``: first publish its count."""
        agent, mine, free = self.agents[me], self.owners.count(me), self.owners.count(None)
        if publishes:
            agent.published_count = mine
        counts = {name: agent.published_count for name, agent in self.agents.items()} | {me: mine}
        places = {name: agent.places for name, agent in self.agents.items() if agent.places is not None}
        sharing = SharingGroup(me, len(self.owners), counts, places)
        transfer = agent.rebalancer.next_transfer(sharing, free=free, now_s=self.now_s)
        agent.unwatched = agent.rebalancer.unwatched(sharing, free, transfer)
        assert 0 <= transfer.take <= free
        assert 0 <= transfer.give <= mine
        take(self.owners, None, me, transfer.take)
        take(self.owners, me, None, transfer.give)
        self.transfer_count += transfer.take + transfer.give
        assert agent.places is None or self.owners.count(me) <= agent.places

    def settle(self, order: list[str]) -> None:
        """Rounds without incidents, until ``GIVE_COOLDOWN_S`` has passed."""
        for _ in range(int(GIVE_COOLDOWN_S / ROUND_S) + 20):
            self.now_s += ROUND_S
            for me in order:
                self.act(me, publishes=True)


INCIDENTS = st.lists(st.sampled_from(["join", "die", "look", "look", "look", "grow", "shrink"]), max_size=30)


@given(st.data(), st.integers(0, 40), INCIDENTS)
def test_joins_and_deaths_end_in_even_and_stable_shares(
    data: st.DataObject, wanted: int, incidents: list[str]
) -> None:
    """With any places, in any order of the rounds, and with published counts that are sometimes out of date."""
    fleet = FakeFleet([None] * wanted)
    fleet.join(data.draw(PLACES))
    for incident in incidents:
        names = list(fleet.agents)
        match incident:
            case "join" if len(names) < 6:
                fleet.join(data.draw(PLACES))
            case "die" if len(names) > 1:
                fleet.die(data.draw(st.sampled_from(names)))
            case "grow":
                fleet.owners += [None] * data.draw(st.integers(1, 9))
            case "shrink":
                del fleet.owners[: data.draw(st.integers(1, 9))]
            case _:
                fleet.now_s += 1.0
                for me in data.draw(st.permutations(names)):
                    fleet.act(me, publishes=data.draw(st.booleans()))
    fleet.settle(data.draw(st.permutations(list(fleet.agents))))
    assert_even(fleet)
    before, fleet.transfer_count = list(fleet.owners), 0
    fleet.settle(data.draw(st.permutations(list(fleet.agents))))
    assert fleet.owners == before
    assert fleet.transfer_count == 0


def assert_even(fleet: FakeFleet) -> None:
    """No agent exceeds its places, all projects that fit are watched, and only full agents have two fewer."""
    counts = {name: fleet.owners.count(name) for name in fleet.agents}
    limits = {name: math.inf if agent.places is None else agent.places for name, agent in fleet.agents.items()}
    unwatched = fleet.owners.count(None)
    assert unwatched == max(0, len(fleet.owners) - sum(limits.values()))
    assert all(counts[name] <= limits[name] for name in counts)
    assert all(counts[name] >= max(counts.values()) - 1 for name in counts if counts[name] < limits[name])
    assert {agent.unwatched for agent in fleet.agents.values()} == {unwatched}


def test_a_new_agent_takes_projects_in_its_first_round_if_all_others_are_full() -> None:
    fleet = FakeFleet([None] * 30)
    fleet.join(5)
    fleet.join(6)
    fleet.settle(["agent1", "agent2"])
    assert [agent.unwatched for agent in fleet.agents.values()] == [19, 19]
    fleet.join(100)
    fleet.act("agent3", publishes=True)
    assert fleet.owners.count("agent3") == 19


def test_projects_that_a_new_agent_is_about_to_take_are_not_reported_as_unwatched() -> None:
    fleet = FakeFleet([None] * 9)
    fleet.join(5)
    for _ in range(PATIENCE_ROUNDS):
        fleet.act("agent1", publishes=True)
        assert fleet.agents["agent1"].unwatched == 0
    fleet.act("agent1", publishes=True)
    assert fleet.agents["agent1"].unwatched == 4
