"""The exceptions in groups of groups."""

import pytest

from aintandem_notify.foundation.exception_groups import CollapsedGroups, leaves


def test_leaves_of_nested_groups() -> None:
    first, second, third = ValueError(1), ValueError(2), KeyboardInterrupt()
    group = BaseExceptionGroup("", [ExceptionGroup("", [first, ExceptionGroup("", [second])]), third])
    assert list(leaves(group)) == [first, second, third]
    assert list(leaves(first)) == [first]


def test_the_chosen_error_leaves_the_block_with_its_own_context() -> None:
    first, last = KeyError("first"), ValueError("last")
    last.__context__ = first
    with pytest.raises(ValueError, match="last") as caught, CollapsedGroups(lambda group: group.exceptions[0]):
        raise ExceptionGroup("", [last, TypeError()])
    assert caught.value is last
    assert last.__context__ is first


def test_the_group_itself_may_be_chosen_and_an_error_outside_of_groups_is_left_alone() -> None:
    group = ExceptionGroup("", [ValueError(1), ValueError(2)])
    with pytest.raises(ExceptionGroup) as caught, CollapsedGroups(lambda group: group):
        raise group
    assert caught.value is group
    with pytest.raises(ValueError, match="bare"), CollapsedGroups(lambda _: KeyError("chosen")):
        raise ValueError("bare")
