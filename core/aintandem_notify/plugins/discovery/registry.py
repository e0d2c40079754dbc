"""Registers instances with pluggy and returns their hooks; calls none of them.

pluggy checks specs and names; ``runtime.calls`` makes the calls, because pluggy cannot await and stops at the
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
    """One hook of one instance. ``is_async``: it runs as a trio task, otherwise in a worker thread."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    parameters: frozenset[str]

    def bind(self, **arguments: object) -> Callable[[], Any]:
        """The call as a function, with those of ``arguments`` that the implementation declares."""
        accepted = {name: value for name, value in arguments.items() if name in self.parameters}
        return lambda: self.function(**accepted)


class Registry:
    """The registered instances, by names such as ``slack.team``."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(HookSpecs)

    def register(self, name: str, instance: object) -> Mapping[str, Hook]:
        """Register ``instance`` and return its hooks by name; registers nothing if it raises PluginUnusable."""
        try:
            self._pluggy.register(instance, name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            self.unregister(name)
            raise PluginUnusable(name, _unknown_hook_problem(instance) or str(error)) from error
        return {
            caller.name: _hook(caller.name, implementation.function)
            for caller in self._pluggy.get_hookcallers(instance) or ()
            if caller.name in HOOK_ARGUMENTS
            for implementation in caller.get_hookimpls()
            if implementation.plugin is instance
        }

    def unregister(self, name: str) -> None:
        """Remove the instance; does nothing for an unknown name."""
        if self._pluggy.has_plugin(name):
            self._pluggy.unregister(name=name)

    def names(self) -> frozenset[str]:
        """The names of all registered instances."""
        return frozenset(name for name, plugin in self._pluggy.list_name_plugin() if plugin is not None)


def _hook(name: str, function: Callable[..., Any]) -> Hook:
    parameters = inspect.signature(function).parameters.values()
    has_var_keywords = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return Hook(
        name=name,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        parameters=HOOK_ARGUMENTS[name] if has_var_keywords else frozenset(item.name for item in parameters),
    )


def _unknown_hook_problem(instance: object) -> str | None:
    """A sentence about a hook name that pluggy does not know; None if all are known."""
    for name in dir(instance):
        attribute = inspect.getattr_static(instance, name)
        options = getattr(attribute, f"{PROJECT}_impl", None)
        hook = (options.get("specname") or name) if isinstance(options, dict) else None
        if hook is not None and hook not in HOOK_ARGUMENTS:
            nearest = nearest_hook(hook)
            return f"{hook} is no hook" + (f"; did you mean {nearest}?" if nearest else "")
    return None
