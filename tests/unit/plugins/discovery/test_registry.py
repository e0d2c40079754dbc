"""Registering with pluggy: names, hooks with their arguments, and no trace of a refused instance."""

from typing import Any

import pytest

from aintandem_notify.api import Plugin, PluginConfig, hookimpl
from aintandem_notify.errors import PluginError
from aintandem_notify.plugins.discovery.registry import Registry


class Beep(Plugin[PluginConfig]):
    """Implements hooks in several ways."""

    @hookimpl
    def deliver(self, notification: Any) -> Any:
        """Return it."""
        return notification

    @hookimpl
    async def on_event(self) -> None:
        """Takes no argument."""

    @hookimpl
    def on_task_event(self, **arguments: Any) -> Any:
        """Takes all arguments."""
        return arguments

    @hookimpl(specname="check")
    def try_it(self) -> str:
        """Under another name."""
        return "tried"


class Misspelt(Plugin[PluginConfig]):
    """Evades the catalog's checks, as an object from elsewhere may."""

    @hookimpl
    def delivr(self, notification: Any) -> None:
        """Is no hook."""


class Strange(Plugin[PluginConfig]):
    """Like ``Misspelt``, with an unknown argument."""

    @hookimpl
    def deliver(self, note: Any) -> None:
        """Never called."""


def test_hooks_are_bound_to_their_instance_and_get_their_arguments() -> None:
    hooks = Registry().register("beep.x", Beep())
    assert set(hooks) == {"deliver", "on_event", "on_task_event", "check"}
    assert [name for name, hook in hooks.items() if hook.is_async] == ["on_event"]
    assert hooks["deliver"].bind(notification=1)() == 1
    assert hooks["on_task_event"].bind(event=2)() == {"event": 2}
    assert hooks["check"].bind()() == "tried"
    hooks["on_event"].bind(event=3)().close()


def test_two_instances_of_a_plugin_stand_side_by_side() -> None:
    registry = Registry()
    first, second = Beep(), Beep()
    registry.register("beep.a", first)
    hooks = registry.register("beep.b", second)
    assert hooks["deliver"].function.__self__ is second  # type: ignore[attr-defined]
    assert registry.names() == {"beep.a", "beep.b"}
    registry.unregister("beep.a")
    registry.unregister("beep.a")
    assert registry.names() == {"beep.b"}


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [(Misspelt, "delivr is no hook; did you mean deliver?"), (Strange, "note")],
)
def test_an_instance_refused_by_pluggy_leaves_no_trace(plugin: type[Plugin[Any]], reason: str) -> None:
    registry = Registry()
    registry.register("beep.x", Beep())
    with pytest.raises(PluginError, match=reason.replace("?", r"\?")):
        registry.register("bad.x", plugin())
    assert registry.names() == {"beep.x"}
    assert registry.register("beep.y", Beep())
