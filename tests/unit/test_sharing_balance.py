"""Who takes and who gives which share: a table, and whatever happens, everybody gets there."""

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
    ("counts", "wanted", "free", "rounds", "move"),
    [
        # alone: everything, at once
        ({"a": 0}, 0, 0, 0, ProjectTransfer()),
        ({"a": 0}, 7, 7, 0, ProjectTransfer(take=7)),
        ({"a": 7}, 7, 0, 0, ProjectTransfer()),
        # two: a half each, and what is left over goes to whoever comes first
        ({"a": 0, "b": 0}, 7, 7, 0, ProjectTransfer(take=4)),
        ({"a": 3, "b": 0}, 7, 4, 0, ProjectTransfer(take=1)),
        ({"a": 4, "b": 0}, 7, 3, 0, ProjectTransfer()),
        ({"a": 5, "b": 0}, 7, 2, 0, ProjectTransfer()),
        # what nobody took is anyone's
        ({"a": 4, "b": 0}, 7, 3, PATIENCE_ROUNDS - 1, ProjectTransfer()),
        ({"a": 4, "b": 0}, 7, 3, PATIENCE_ROUNDS, ProjectTransfer(take=3)),
        # nothing is given back while something is free, or while nobody misses anything
        ({"a": 6, "b": 0}, 7, 1, 0, ProjectTransfer()),
        ({"a": 4, "b": 3}, 7, 0, 0, ProjectTransfer()),
        ({"a": 2, "b": 1, "c": 1}, 4, 0, 0, ProjectTransfer()),
        # a newcomer gets its share from those that have most
        ({"a": 7, "b": 0}, 7, 0, 0, ProjectTransfer(give=3)),
        ({"a": 0, "b": 7}, 7, 0, 0, ProjectTransfer()),
        ({"a": 3, "b": 3, "c": 3, "d": 1}, 10, 0, 0, ProjectTransfer()),
        ({"c": 3, "b": 3, "d": 3, "a": 1}, 10, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 5, "c": 0}, 10, 0, 0, ProjectTransfer(give=1)),
        ({"a": 5, "b": 5, "c": 0}, 9, 0, 0, ProjectTransfer(give=2)),
        # fewer projects than agents: some have none, and that is fair
        ({"a": 1, "b": 1, "c": 0}, 2, 0, 0, ProjectTransfer()),
        ({"a": 2, "b": 0, "c": 0}, 2, 0, 0, ProjectTransfer(give=1)),
    ],
)
def test_a_move(counts: Mapping[str, int], wanted: int, free: int, rounds: int, move: ProjectTransfer) -> None:
    assert plan_transfer(SharingGroup("a", wanted, counts), free=free, rounds=rounds) == move


@pytest.mark.parametrize(
    ("counts", "places", "wanted", "free", "rounds", "move"),
    [
        # no more than it has places for, however long something is free
        ({"a": 0}, {"a": 5}, 7, 7, 0, ProjectTransfer(take=5)),
        ({"a": 5}, {"a": 5}, 7, 2, 0, ProjectTransfer()),
        ({"a": 5}, {"a": 5}, 7, 2, 99, ProjectTransfer()),
        ({"a": 4, "b": 0}, {"a": 5}, 7, 3, PATIENCE_ROUNDS, ProjectTransfer(take=1)),
        # what another has no place for is taken at once
        ({"a": 0, "b": 2}, {"b": 2}, 7, 5, 0, ProjectTransfer(take=5)),
        ({"a": 0, "b": 2, "c": 0}, {"b": 2}, 8, 6, 0, ProjectTransfer(take=3)),
        # nobody gives to an agent that is full
        ({"a": 5, "b": 2}, {"b": 2}, 7, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 1}, {"b": 2}, 6, 0, 0, ProjectTransfer(give=1)),
        # what it has no place for it gives back, whether or not anybody misses it
        ({"a": 7}, {"a": 5}, 7, 0, 0, ProjectTransfer(give=2)),
        ({"a": 6, "b": 3}, {"a": 5}, 12, 3, PATIENCE_ROUNDS, ProjectTransfer(give=1)),
        # all are full, and a newcomer is not
        ({"a": 5, "b": 5, "c": 0}, {"a": 5, "b": 5}, 30, 20, 9, ProjectTransfer()),
        ({"c": 5, "b": 5, "a": 0}, {"c": 5, "b": 5}, 30, 20, 0, ProjectTransfer(take=20)),
        ({"c": 5, "b": 5, "a": 2}, {"c": 5, "b": 5}, 12, 0, 0, ProjectTransfer()),
        ({"a": 5, "b": 5, "c": 2}, {"a": 5, "b": 5}, 12, 0, 0, ProjectTransfer(give=1)),
        # more places than projects are no limit
        ({"a": 0, "b": 0}, {"a": 99, "b": 99}, 7, 7, 0, ProjectTransfer(take=4)),
    ],
)
def test_a_move_where_places_are_few(
    counts: Mapping[str, int],
    places: Mapping[str, int],
    wanted: int,
    free: int,
    rounds: int,
    move: ProjectTransfer,
) -> None:
    assert plan_transfer(SharingGroup("a", wanted, counts, places), free=free, rounds=rounds) == move


COUNTS = st.lists(st.integers(0, 20), min_size=1, max_size=6)
PLACES = st.one_of(st.none(), st.integers(1, 15))


def group(counts: list[int], places: list[int | None], wanted: int) -> SharingGroup:
    names = [f"agent{n}" for n in range(len(counts))]
    limits = {name: most for name, most in zip(names, places, strict=False) if most is not None}
    return SharingGroup(names[0], wanted, dict(zip(names, counts, strict=True)), limits)


@given(COUNTS, st.lists(PLACES, min_size=6, max_size=6), st.integers(0, 60))
def test_shares_are_all_that_there_are_places_for_and_as_even_as_these_allow(
    counts: list[int], places: list[int | None], wanted: int
) -> None:
    found = group(counts, places, wanted)
    shares = found.shares()
    most = {name: found.places.get(name, math.inf) for name in shares}
    assert sum(shares.values()) == min(wanted, sum(most.values()))
    assert all(0 <= share <= most[name] for name, share in shares.items())
    # Whoever has less than another by more than one is full.
    assert all(shares[name] >= max(shares.values()) - 1 for name in shares if shares[name] < most[name])


@given(COUNTS, st.lists(PLACES, min_size=6, max_size=6), st.integers(0, 60))
def test_what_is_shared_as_it_should_be_stays_where_it_is(
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
def test_everybody_gets_there_soon_from_any_beginning(data: st.DataObject, agents: int, wanted: int) -> None:
    """In any order of the rounds; one that was started again with a lower limit may have too many at first."""
    names = [f"agent{n}" for n in range(agents)]
    places = {name: most for name in names if (most := data.draw(PLACES)) is not None}
    owners: list[str | None] = data.draw(
        st.lists(st.sampled_from([None, *names]), min_size=wanted, max_size=wanted)
    )
    for _ in range(3 + agents):
        for me in data.draw(st.permutations(names)):
            counts = {name: owners.count(name) for name in names}
            move = plan_transfer(SharingGroup(me, wanted, counts, places), free=owners.count(None), rounds=0)
            assert 0 <= move.take <= owners.count(None)
            assert 0 <= move.give <= counts[me]
            take(owners, None, me, move.take)
            take(owners, me, None, move.give)
    counts = {name: owners.count(name) for name in names}
    assert counts == SharingGroup(names[0], wanted, counts, places).shares()


def take(owners: list[str | None], of: str | None, to: str | None, count: int) -> None:
    for _ in range(count):
        owners[owners.index(of)] = to


@given(st.integers(0, 40), st.lists(st.integers(0, 20), min_size=1, max_size=6), st.lists(PLACES, min_size=6))
def test_all_together_never_give_more_than_is_missed(
    rounds: int, held: list[int], places: list[int | None]
) -> None:
    """All see the same and act at once."""
    found = group(held, [None if most is None else max(most, n) for n, most in zip(held, places, strict=False)], 0)
    counts, wanted = found.counts, sum(held)
    shares = SharingGroup(found.me, wanted, counts, found.places).shares()
    gifts = {
        name: plan_transfer(SharingGroup(name, wanted, counts, found.places), free=0, rounds=rounds).give
        for name in counts
    }
    assert sum(gifts.values()) == sum(max(0, share - counts[name]) for name, share in shares.items())
    assert all(counts[name] - gifts[name] >= shares[name] for name in counts if gifts[name])


@dataclass
class Peer:
    """An agent of the fleet, and what the others know of it."""

    places: int | None
    told: int = 0
    turns: Rebalancer = field(default_factory=Rebalancer)
    unwatched: int = 0


@dataclass
class Fleet:
    """Agents that act one after the other, as transactions make them, and tell each other now and then."""

    owners: list[str | None]
    agents: dict[str, Peer] = field(default_factory=dict)
    now_s: float = 0.0
    joined: int = 0
    moves: int = 0

    def join(self, places: int | None) -> None:
        self.joined += 1
        self.agents[f"agent{self.joined}"] = Peer(places)

    def die(self, name: str) -> None:
        del self.agents[name]
        self.owners = [None if owner == name else owner for owner in self.owners]

    def act(self, me: str, *, tells: bool) -> None:
        """One round of one agent, as ``projects`` has it; ``tells`` the others of what it has before."""
        agent, mine, free = self.agents[me], self.owners.count(me), self.owners.count(None)
        if tells:
            agent.told = mine
        counts = {name: one.told for name, one in self.agents.items()} | {me: mine}
        places = {name: one.places for name, one in self.agents.items() if one.places is not None}
        found = SharingGroup(me, len(self.owners), counts, places)
        move = agent.turns.next_transfer(found, free=free, now_s=self.now_s)
        agent.unwatched = agent.turns.unwatched(found, free, move)
        assert 0 <= move.take <= free
        assert 0 <= move.give <= mine
        take(self.owners, None, me, move.take)
        take(self.owners, me, None, move.give)
        self.moves += move.take + move.give
        assert agent.places is None or self.owners.count(me) <= agent.places

    def settle(self, order: list[str]) -> None:
        """Rounds without anything happening, until whatever was kept for a while need not be any more."""
        for _ in range(int(GIVE_COOLDOWN_S / ROUND_S) + 20):
            self.now_s += ROUND_S
            for me in order:
                self.act(me, tells=True)


HAPPENINGS = st.lists(st.sampled_from(["join", "die", "look", "look", "look", "grow", "shrink"]), max_size=30)


@given(st.data(), st.integers(0, 40), HAPPENINGS)
def test_joins_and_deaths_end_in_even_shares_that_stay(
    data: st.DataObject, wanted: int, happenings: list[str]
) -> None:
    """Whatever places the agents have, in any order of the rounds, and though counts are old at times."""
    fleet = Fleet([None] * wanted)
    fleet.join(data.draw(PLACES))
    for happening in happenings:
        names = list(fleet.agents)
        match happening:
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
                    fleet.act(me, tells=data.draw(st.booleans()))
    fleet.settle(data.draw(st.permutations(list(fleet.agents))))
    assert_even(fleet)
    before, fleet.moves = list(fleet.owners), 0
    fleet.settle(data.draw(st.permutations(list(fleet.agents))))
    assert fleet.owners == before
    assert fleet.moves == 0


def assert_even(fleet: Fleet) -> None:
    """Nobody is over its places, all that fits is watched, and whoever has fewer than another is full."""
    held = {name: fleet.owners.count(name) for name in fleet.agents}
    most = {name: math.inf if one.places is None else one.places for name, one in fleet.agents.items()}
    left = fleet.owners.count(None)
    assert left == max(0, len(fleet.owners) - sum(most.values()))
    assert all(held[name] <= most[name] for name in held)
    assert all(held[name] >= max(held.values()) - 1 for name in held if held[name] < most[name])
    assert {one.unwatched for one in fleet.agents.values()} == {left}


def test_where_all_are_full_a_newcomer_is_at_work_in_its_first_round() -> None:
    fleet = Fleet([None] * 30)
    fleet.join(5)
    fleet.join(6)
    fleet.settle(["agent1", "agent2"])
    assert [one.unwatched for one in fleet.agents.values()] == [19, 19]
    fleet.join(100)
    fleet.act("agent3", tells=True)
    assert fleet.owners.count("agent3") == 19


def test_what_a_newcomer_is_about_to_take_is_not_said_to_be_nobodys() -> None:
    fleet = Fleet([None] * 9)
    fleet.join(5)
    for _ in range(PATIENCE_ROUNDS):
        fleet.act("agent1", tells=True)
        assert fleet.agents["agent1"].unwatched == 0
    fleet.act("agent1", tells=True)
    assert fleet.agents["agent1"].unwatched == 4
