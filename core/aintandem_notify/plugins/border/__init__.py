"""The border to plugin code: all that comes out of it is looked at here, once, and made harmless.

What a hook returns, raises or says in the text of an exception, and what stands on its class, is of any kind, and
to look at it may run code of the plugin. Behind the border are exceptions of our own with texts of our own, JSON
values, numbers in their bounds, and the plugin's file and line. Nothing in here raises but what it promises.
"""

from aintandem_notify.plugins.border.attributes import ClassFacts, ConventionBroken, facts_of
from aintandem_notify.plugins.border.crossing import MAX_FACTS_BYTES, MAX_RECEIPT_BYTES, Border
from aintandem_notify.plugins.border.faults import (
    DeadlineExceeded,
    LifespanFailed,
    NoConnection,
    PluginCodeFailed,
    PluginUnusable,
    describe_fault,
    fault_kind,
)
from aintandem_notify.plugins.border.places import Home, at, last_line, placed

__all__ = [
    "MAX_FACTS_BYTES",
    "MAX_RECEIPT_BYTES",
    "Border",
    "ClassFacts",
    "ConventionBroken",
    "DeadlineExceeded",
    "Home",
    "LifespanFailed",
    "NoConnection",
    "PluginCodeFailed",
    "PluginUnusable",
    "at",
    "describe_fault",
    "facts_of",
    "fault_kind",
    "last_line",
    "placed",
]
