"""The exceptions inside the groups that nurseries raise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside nested groups, in order; ``error`` itself if it is no group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


@contextmanager
def collapse_group(choose: Callable[[BaseExceptionGroup[BaseException]], BaseException]) -> Iterator[None]:
    """Raises the exception that ``choose`` returns instead of a group that leaves the block."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = choose(group)
        context = error.__context__
        try:
            raise error
        finally:
            # Otherwise the group, which holds the error, would be the error's context.
            error.__context__ = context
