"""Runs the agent as a process: signals, systemd, open files, uncaught exceptions and garbage collection."""

import gc
import os
import random
import sys
import threading
from pathlib import Path
from typing import Final

import trio

from aintandem_notify import log
from aintandem_notify.agent.agent import Agent
from aintandem_notify.agent.composition import open_agent
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.foundation.open_files import FileBudget, describe_shortage, file_budget, raise_file_limit
from aintandem_notify.foundation.signals import SighupReceiver, receive_sighups, stop_signals
from aintandem_notify.plugins.border import raising_line, with_location
from aintandem_notify.plugins.config_loading import LoadedConfig, load

EXIT_GRACE_S: Final = 15.0
"""Seconds after ``[delivery] drain_timeout`` at which the process ends in any case. Plugins must tear down within
this time.
"""

GC_THRESHOLDS: Final = (10_000, 20, 50)
"""Thresholds of the garbage collector's generations; see ``gc.set_threshold``."""

_log = log.get_logger("agent")


def run(source: Path) -> None:
    """Watches and notifies as the config file says, until SIGINT or SIGTERM.

    Raises ConfigError and StoreError, bare or in the ExceptionGroups of trio's nurseries.
    """
    with receive_sighups() as reload_requests:
        loaded = load(source)
        log.configure(loaded.config.log.level, loaded.config.log.format)
        log_uncaught_exceptions()
        files = _file_budget(loaded)
        relax_garbage_collection()
        trio.run(_main, loaded, reload_requests, files)


def _file_budget(loaded: LoadedConfig) -> FileBudget:
    limit, embedded = raise_file_limit(), loaded.config.orchestrator.embedded
    if (shortage := describe_shortage(len(loaded.config.projects), limit, embedded=embedded)) is not None:
        _log.warning("too few open files", reason=shortage)
    return file_budget(limit, embedded=embedded)


def log_uncaught_exceptions() -> None:
    """Logs uncaught exceptions of a plugin's threads and finalizers in one line, instead of a traceback."""

    current = threading.local()

    def log_exception(where: object, error: BaseException | None) -> None:
        # Formatting an exception may raise another uncaught one, and so on without end.
        if error is None or getattr(current, "error", None) is not None:
            return
        current.error = error
        try:
            reason = with_location(raising_line(error), log.describe_error(error))
            _log.warning("uncaught exception", where=log.safe_text(where), reason=reason)
        finally:
            current.error = None

    threading.excepthook = lambda args: log_exception(args.thread and args.thread.name, args.exc_value)
    sys.unraisablehook = lambda args: log_exception(args.err_msg or "a finalizer", args.exc_value)


def relax_garbage_collection() -> None:
    """Runs the garbage collector less often: a batch is thousands of objects, and hardly any are in cycles.

    With the defaults a busy agent spends much of its time in the collector.
    """
    gc.freeze()  # modules and config stay for good
    gc.set_threshold(*GC_THRESHOLDS)


async def _main(loaded: LoadedConfig, reload_requests: SighupReceiver, files: FileBudget) -> None:
    with stop_signals(lambda: loaded.config.delivery.drain_timeout + EXIT_GRACE_S) as stop:
        systemd = Systemd.from_environ(os.environ)
        async with open_agent(
            loaded, clock=SystemClock(), chance=random.random, systemd=systemd, files=files, watch_loop=True
        ) as agent:
            systemd.ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_reload_on_hangup, agent, reload_requests)
                await stop.wait()
                nursery.cancel_scope.cancel()
            systemd.stopping()
            _log.info("stopping", drain_timeout_s=agent.loaded.config.delivery.drain_timeout)
        _log.info("stopped")


async def _reload_on_hangup(agent: Agent, reload_requests: SighupReceiver) -> None:
    while True:
        await reload_requests.wait()
        await agent.reload()
