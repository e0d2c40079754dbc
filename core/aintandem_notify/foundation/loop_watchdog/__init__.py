"""Finds code that blocks the event loop while it does so, with file and line, from a thread of its own."""

from aintandem_notify.foundation.loop_watchdog.looks import NO_TIME, Culprit
from aintandem_notify.foundation.loop_watchdog.loop_stack import LoopStack
from aintandem_notify.foundation.loop_watchdog.watchdog import Block, LoopWatchdog, open_loop_watchdog

__all__ = ["NO_TIME", "Block", "Culprit", "LoopStack", "LoopWatchdog", "open_loop_watchdog"]
