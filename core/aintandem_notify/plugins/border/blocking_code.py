"""Finds the plugin instance whose code a stack shows."""

from collections.abc import Mapping

from aintandem_notify.foundation.loop_watchdog import Culprit, LoopStack
from aintandem_notify.foundation.loop_watchdog.loop_stack import is_ours
from aintandem_notify.plugins.border.source_files import SourceFiles, format_location


def culprit_in(stack: LoopStack, files: Mapping[str, SourceFiles], running: str | None) -> Culprit | None:
    """The instance and its innermost line; None if no line is a plugin's.

    ``files`` has the source files of each instance, and ``running`` is the instance for which the task runs, if
    known. Several instances of one plugin look the same then, and all are named. A task that runs only a library's
    code, as ``nursery.start_soon(library.work)`` starts it, is its instance's.
    """
    candidates = files if running is None else {running: files[running]} if running in files else {}
    for file, line in stack.lines:
        owners = [name for name, source_files in candidates.items() if source_files.contains(file)]
        if owners:
            return Culprit(" or ".join(owners), format_location(file, line))
    if running is not None and stack.lines and not any(is_ours(file) for file, _ in stack.lines):
        return Culprit(running, format_location(*stack.lines[0]))
    return None
