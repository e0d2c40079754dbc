"""Finds coroutines that plugin code made and nobody awaited: an ``await`` is missing, and nothing was done.

Python notices such a coroutine when it is freed: mostly at once, at the latest at the end of the function. It then
calls a function of ``warnings``, which ``noticing_missing_awaits`` replaces: a warning would appear once for each
line, and the notification would count as delivered.
"""

import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import CoroutineType
from typing import Any, Final, TypeVar

from aintandem_notify import log
from aintandem_notify.log import safe_text
from aintandem_notify.plugins.border.source_files import SourceFiles, format_location

T = TypeVar("T")

RUNNING_INSTANCE: Final = ContextVar[str]("RUNNING_INSTANCE")
"""The plugin instance for which a task or thread runs; also set in every task that such a task starts."""

MISSING_AWAIT: Final = "await is missing: the coroutine of {}() was never awaited"
_PYTHONS_NOTICE: Final = "_warn_unawaited_coroutine"

_log = log.get_logger(__name__)


class _ThisThread(threading.local):
    call: "WatchedCall | None" = None


_this_thread: Final = _ThisThread()


class WatchedCall:
    """One call of a hook; ``unawaited`` names the first coroutine of the plugin that nobody awaited."""

    def __init__(self, source_files: SourceFiles) -> None:
        self._source_files = source_files
        self.unawaited: str | None = None

    def run(self, step: Callable[[], T]) -> T:
        """Run a part of the call in this thread."""
        depth, outer = sys.get_coroutine_origin_tracking_depth(), _this_thread.call
        sys.set_coroutine_origin_tracking_depth(1)
        _this_thread.call = self
        try:
            return step()
        finally:
            _this_thread.call = outer
            sys.set_coroutine_origin_tracking_depth(depth)

    def notice(self, coroutine: "CoroutineType[Any, Any, Any]") -> bool:
        """Take a coroutine that was not awaited; False if this plugin's code did not make it."""
        for file, line, _ in coroutine.cr_origin or ():
            if self._source_files.contains(file):
                text = MISSING_AWAIT.format(_name(coroutine))
                self.unawaited = self.unawaited or f"{format_location(file, line)}: {text}"
                return True
        return False


class WatchedSteps(Awaitable[T]):
    """Awaits a coroutine of a plugin, each of its steps as a part of ``call``."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], call: WatchedCall) -> None:
        self._coroutine = coroutine
        self._call = call

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                trap = self._call.run(step)
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                value = yield trap
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  # for the coroutine
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, value)


@contextmanager
def noticing_missing_awaits() -> Iterator[None]:
    """Gives unawaited coroutines to the ``WatchedCall`` that runs, for the block; of others Python warns.

    Those of background tasks, and those that an exception has kept, belong to no call: they are logged with their
    instance.
    """
    pythons = getattr(warnings, _PYTHONS_NOTICE, None)
    if pythons is None:  # a Python without it; its own warning is then all there is
        yield
        return

    def notice(coroutine: "CoroutineType[Any, Any, Any]") -> None:
        call = _this_thread.call
        if call is not None and call.notice(coroutine):
            return
        instance = RUNNING_INSTANCE.get(None)
        if call is not None or instance is None:
            pythons(coroutine)
            return
        freed_in = sys._getframe(1)  # noqa: SLF001  # documented, in spite of its name
        made_in = coroutine.cr_origin or ((freed_in.f_code.co_filename, freed_in.f_lineno, ""),)
        where = format_location(*made_in[0][:2])
        _log.warning(MISSING_AWAIT.format(_name(coroutine)), plugin=instance, where=where)

    setattr(warnings, _PYTHONS_NOTICE, notice)
    try:
        yield
    finally:
        setattr(warnings, _PYTHONS_NOTICE, pythons)


def _name(coroutine: "CoroutineType[Any, Any, Any]") -> str:
    return safe_text(coroutine.__qualname__, 100)
