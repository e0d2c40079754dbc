"""The border to plugin code: everything that comes out of a plugin is checked and copied here, once.

Return values, exceptions, their texts and class attributes can be any object, and reading them may run plugin
code. Behind the border there are only exceptions and texts of our own, JSON values, numbers within their bounds,
and the plugin's file and line. Functions of this package raise only the exceptions that they document.
"""

from aintandem_notify.plugins.border.class_attributes import (
    ATTRIBUTE_NAMES,
    ClassAttributes,
    ConventionBroken,
    read_class_attributes,
)
from aintandem_notify.plugins.border.error_translation import (
    DeadlineExceeded,
    LifespanFailed,
    NoConnection,
    PluginCodeFailed,
    PluginUnusable,
    describe_plugin_error,
    plugin_error_kind,
)
from aintandem_notify.plugins.border.instance_border import MAX_DIAGNOSTICS_BYTES, MAX_RECEIPT_BYTES, Border
from aintandem_notify.plugins.border.source_files import SourceFiles, format_location, raising_line, with_location

__all__ = [
    "ATTRIBUTE_NAMES",
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
    "describe_plugin_error",
    "format_location",
    "plugin_error_kind",
    "raising_line",
    "read_class_attributes",
    "with_location",
]
