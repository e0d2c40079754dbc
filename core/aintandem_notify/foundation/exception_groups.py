"""The exceptions inside the groups that nurseries raise."""

from collections.abc import Callable, Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside nested groups, in order; ``error`` itself if it is no group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


class CollapsedGroups:
    """A block that raises the exception that ``choose`` returns instead of a group. Blocks may share it."""

    __slots__ = ("_choose",)

    def __init__(self, choose: Callable[[BaseExceptionGroup[BaseException]], BaseException]) -> None:
        self._choose = choose

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, BaseExceptionGroup) and (chosen := self._choose(error)) is not error:
            context = chosen.__context__
            try:
                raise chosen
            finally:
                # Otherwise the group, which holds the error, would be the error's context.
                chosen.__context__ = context
