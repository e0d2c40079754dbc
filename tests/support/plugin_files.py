"""Plugins as files beside a config."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aintandem_notify.errors import PluginError
from aintandem_notify.plugins import Catalog

HEAD = """
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar
from aintandem_notify.api import Notification, Plugin, PluginConfig, hookimpl
"""

BEEP = (
    HEAD
    + """
class Config(PluginConfig):
    times: int = 1

class Beep(Plugin[Config]):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        pass

    @hookimpl
    async def on_task_event(self, event):
        pass
"""
)

Write = Callable[[str, str], Path]


def refusal(catalog: Catalog, plugins_dir: Path, name: str = "beep") -> str:
    """The catalog's error about the plugin."""
    with pytest.raises(PluginError) as caught:
        catalog.find(name, plugins_dir)
    assert caught.value.plugin == name
    return caught.value.reason
