"""Turns the errors of the WebSocket libraries into ours, and groups of errors into the one that counts."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from h11 import ProtocolError as HttpProtocolError
from trio_websocket import ConnectionClosed, HandshakeError
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from aintandem_notify.errors import LinkLost, OrchestratorError
from aintandem_notify.foundation.exception_groups import CollapsedGroups, leaves
from aintandem_notify.orchestrator.link.close_codes import TOO_BIG, error_for_close


def primary_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in the group that says why the link ended; a group if several others happened.

    Cancellations are left out: they are raised again at the next checkpoint.
    """
    _, failures = group.split(trio.Cancelled)
    if failures is None:
        return group
    errors = list(leaves(failures))
    link_errors = [known for known in map(as_link_error, errors) if known is not None]
    if len(link_errors) == len(errors):
        # A refusal or a missing project says more than the broken connection that comes with it.
        return min(link_errors, key=lambda error: isinstance(error, LinkLost))
    return errors[0] if len(errors) == 1 else failures


def as_link_error(error: BaseException) -> OrchestratorError | None:
    """Our error for one that the library or a stream raised. None for any other."""
    match error:
        case OrchestratorError():
            return error
        case ConnectionClosed(reason=reason):
            # Without a reason the library's reader ended by itself: it could not decode the bytes.
            return error_for_close(*((1002, None) if reason is None else (reason.code, reason.reason)))
        case HandshakeError() | WebSocketProtocolError() | HttpProtocolError() | UnicodeError():
            return LinkLost("the server broke the WebSocket protocol", 1002)
        case MemoryError():
            return LinkLost("there was no memory for a message", TOO_BIG)
        case trio.BrokenResourceError() | trio.ClosedResourceError():
            return LinkLost("the connection broke")
        case _:
            return None


class _LibraryErrors:
    """A block that raises LinkLost for an error of the WebSocket libraries that ``primary_error`` does not know.

    It has no state, so that thousands of links that wait within can share it.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and as_link_error(error) is None:
            raise LinkLost(f"the WebSocket library failed ({type(error).__name__})", 1002) from error


library_errors: Final = _LibraryErrors()
link_groups: Final = CollapsedGroups(primary_error)
"""A block that raises the error that says why a link ended, instead of a group."""


class LibraryTasks:
    """A nursery for the library's tasks; it turns their unknown errors into LinkLost."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(self, task: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """As the nursery's own."""
        self._nursery.start_soon(self._run, task, arguments)

    async def _run(self, task: Callable[..., Awaitable[object]], arguments: tuple[object, ...]) -> None:
        with library_errors:
            await task(*arguments)
