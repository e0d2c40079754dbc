"""Who takes and who gives which share: a table, and whatever happens, everybody gets there."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.sharing.shares import PATIENCE, Move, decide


@pytest.mark.parametrize(
    ("counts", "wanted", "free", "rounds", "move"),
    [
        # alone: everything, at once
        ({"a": 0}, 0, 0, 0, Move()),
        ({"a": 0}, 7, 7, 0, Move(take=7)),
        ({"a": 7}, 7, 0, 0, Move()),
        # two: a half each, and what is left over goes to whoever comes first
        ({"a": 0, "b": 0}, 7, 7, 0, Move(take=4)),
        ({"a": 3, "b": 0}, 7, 4, 0, Move(take=1)),
        ({"a": 4, "b": 0}, 7, 3, 0, Move()),
        ({"a": 5, "b": 0}, 7, 2, 0, Move()),
        # what nobody took is anyone's
        ({"a": 4, "b": 0}, 7, 3, PATIENCE - 1, Move()),
        ({"a": 4, "b": 0}, 7, 3, PATIENCE, Move(take=3)),
        # nothing is given back while something is free, or while nobody misses anything
        ({"a": 6, "b": 0}, 7, 1, 0, Move()),
        ({"a": 4, "b": 3}, 7, 0, 0, Move()),
        ({"a": 2, "b": 1, "c": 1}, 4, 0, 0, Move()),
        # a newcomer gets its share from those that have most
        ({"a": 7, "b": 0}, 7, 0, 0, Move(give=3)),
        ({"a": 0, "b": 7}, 7, 0, 0, Move()),
        ({"a": 3, "b": 3, "c": 3, "d": 1}, 10, 0, 0, Move()),
        ({"c": 3, "b": 3, "d": 3, "a": 1}, 10, 0, 0, Move()),
        ({"a": 5, "b": 5, "c": 0}, 10, 0, 0, Move(give=1)),
        ({"a": 5, "b": 5, "c": 0}, 9, 0, 0, Move(give=2)),
        # fewer projects than agents: some have none, and that is fair
        ({"a": 1, "b": 1, "c": 0}, 2, 0, 0, Move()),
        ({"a": 2, "b": 0, "c": 0}, 2, 0, 0, Move(give=1)),
    ],
)
def test_a_move(counts: Mapping[str, int], wanted: int, free: int, rounds: int, move: Move) -> None:
    assert decide("a", counts, wanted=wanted, free=free, rounds=rounds) == move


@given(st.data(), st.integers(1, 6), st.integers(0, 40))
def test_everybody_gets_a_fair_share_and_keeps_it(data: st.DataObject, agents: int, wanted: int) -> None:
    """From any beginning and in any order of the rounds."""
    names = [f"agent{n}" for n in range(agents)]
    owners: list[str | None] = data.draw(
        st.lists(st.sampled_from([None, *names]), min_size=wanted, max_size=wanted)
    )
    for _ in range(3 + agents):
        for me in data.draw(st.permutations(names)):
            counts = {name: owners.count(name) for name in names}
            move = decide(me, counts, wanted=wanted, free=owners.count(None), rounds=0)
            assert 0 <= move.take <= owners.count(None)
            assert 0 <= move.give <= counts[me]
            take(owners, None, me, move.take)
            take(owners, me, None, move.give)
    fair = {wanted // agents, -(-wanted // agents)}
    assert {owners.count(name) for name in names} <= fair
    assert None not in owners


def take(owners: list[str | None], of: str | None, to: str | None, count: int) -> None:
    for _ in range(count):
        owners[owners.index(of)] = to


@given(st.integers(0, 40), st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_all_together_never_give_more_than_is_missed(free: int, held: list[int]) -> None:
    """All see the same and act at once."""
    counts = {f"agent{n}": count for n, count in enumerate(held)}
    wanted = sum(held)
    least = wanted // len(held)
    gifts = {name: decide(name, counts, wanted=wanted, free=0, rounds=free).give for name in counts}
    assert sum(gifts.values()) <= sum(max(0, least + 1 - count) for count in held)
    assert all(counts[name] - gifts[name] >= least for name in counts if gifts[name])
