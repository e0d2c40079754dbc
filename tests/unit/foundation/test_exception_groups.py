"""The exceptions in groups of groups."""

from aintandem_notify.foundation.exception_groups import leaves


def test_leaves_of_nested_groups() -> None:
    first, second, third = ValueError(1), ValueError(2), KeyboardInterrupt()
    group = BaseExceptionGroup("", [ExceptionGroup("", [first, ExceptionGroup("", [second])]), third])
    assert list(leaves(group)) == [first, second, third]
    assert list(leaves(first)) == [first]
