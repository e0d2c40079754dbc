"""The border to plugin code: all that comes out of it is looked at here, once, and made harmless.

What a hook returns, raises or says in the text of an exception, and what stands on its class, is of any kind, and
to look at it may run code of the plugin. Behind the border are exceptions of our own with texts of our own, JSON
values, numbers in their bounds, and the plugin's file and line. Nothing in here raises but what it promises.
"""

from aintandem_notify.plugins.border.class_attributes import (
    ClassAttributes,
    ConventionBroken,
    read_class_attributes,
)
from aintandem_notify.plugins.border.faults import (
    DeadlineExceeded,
    LifespanFailed,
    NoConnection,
    PluginCodeFailed,
    PluginUnusable,
    describe_fault,
    fault_kind,
)
from aintandem_notify.plugins.border.instance_border import MAX_DIAGNOSTICS_BYTES, MAX_RECEIPT_BYTES, Border
from aintandem_notify.plugins.border.source_files import SourceFiles, format_location, raising_line, with_location

__all__ = [
    "MAX_DIAGNOSTICS_BYTES",
    "MAX_RECEIPT_BYTES",
    "Border",
    "ClassAttributes",
    "ConventionBroken",
    "DeadlineExceeded",
    "LifespanFailed",
    "NoConnection",
    "PluginCodeFailed",
    "PluginUnusable",
    "SourceFiles",
    "describe_fault",
    "fault_kind",
    "format_location",
    "raising_line",
    "read_class_attributes",
    "with_location",
]
