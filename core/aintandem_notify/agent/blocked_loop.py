"""Logs that something blocks the event loop, and later for how long it did."""

from typing import Final

from aintandem_notify import log
from aintandem_notify.foundation.loop_watchdog import NO_TIME, Block

ADVICE: Final = "write the hook as def, or await the slow part"
"""For the author of a plugin that blocks."""

_log = log.get_logger("agent")


def log_block(block: Block) -> None:
    """Logs the begin of the block, or its end. May be called in any thread."""
    facts: dict[str, object] = {"where": block.where, "elapsed_s": round(block.lasted_s, 1)}
    if block.instance is not None:
        facts = {"plugin": block.instance, **facts}
    if block.where == NO_TIME:
        _log.info("the event loop does not run" if not block.ended else "the event loop runs again", **facts)
    elif block.ended:
        _log.warning("the whole agent was blocked; it runs again", **facts)
    elif block.instance is not None:
        _log.warning(f"the plugin blocks the whole agent; {ADVICE}", **facts)
    else:
        _log.warning("the agent blocks itself", **facts)
