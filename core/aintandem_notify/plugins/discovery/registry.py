"""Registers instances with pluggy and gives out their hooks; calls none of them.

pluggy knows the specs and the names; ``calls`` runs the hooks, because pluggy awaits nothing and stops at the
first exception.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

from aintandem_notify.hookspecs import PROJECT, HookSpecs
from aintandem_notify.plugins.border import PluginUnusable
from aintandem_notify.plugins.discovery.conventions import HOOK_ARGUMENTS, nearest_hook


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook of one instance. ``is_async`` tells a trio task from work for a thread."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    parameters: frozenset[str]

    def bind(self, **arguments: object) -> Callable[[], Any]:
        """The call, with those of the arguments that the implementation asks for."""
        wanted = {name: value for name, value in arguments.items() if name in self.parameters}
        return lambda: self.function(**wanted)


class Registry:
    """The instances that are in use, under names such as ``slack.team``."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(HookSpecs)

    def register(self, name: str, instance: object) -> Mapping[str, Hook]:
        """Take ``instance`` in and give its hooks by name; raises Unusable and leaves no trace."""
        try:
            self._pluggy.register(instance, name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            self.unregister(name)
            raise PluginUnusable(name, _advice(instance) or str(error)) from error
        return {
            caller.name: _hook(caller.name, implementation.function)
            for caller in self._pluggy.get_hookcallers(instance) or ()
            if caller.name in HOOK_ARGUMENTS
            for implementation in caller.get_hookimpls()
            if implementation.plugin is instance
        }

    def unregister(self, name: str) -> None:
        """Forget the instance; nothing happens if there is none of this name."""
        if self._pluggy.has_plugin(name):
            self._pluggy.unregister(name=name)

    def names(self) -> frozenset[str]:
        """Who is registered."""
        return frozenset(name for name, plugin in self._pluggy.list_name_plugin() if plugin is not None)


def _hook(name: str, function: Callable[..., Any]) -> Hook:
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return Hook(
        name=name,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        parameters=HOOK_ARGUMENTS[name] if takes_any else frozenset(item.name for item in parameters),
    )


def _advice(instance: object) -> str | None:
    """A sentence for a hook whose name pluggy does not know."""
    for name in dir(instance):
        attribute = inspect.getattr_static(instance, name)
        options = getattr(attribute, f"{PROJECT}_impl", None)
        hook = (options.get("specname") or name) if isinstance(options, dict) else None
        if hook is not None and hook not in HOOK_ARGUMENTS:
            nearest = nearest_hook(hook)
            return f"{hook} is no hook" + (f"; did you mean {nearest}?" if nearest else "")
    return None
