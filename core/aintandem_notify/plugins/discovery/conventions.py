"""The conventions of a plugin's module and class, with one sentence for each violation.

Pure: inspects the imported module; makes no instance and calls no plugin code.
"""

import difflib
import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from pydantic import BeforeValidator, PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo

from aintandem_notify.api import Field, Plugin
from aintandem_notify.config.plugin_config import PluginConfig
from aintandem_notify.hookspecs import PROJECT, HookSpecs
from aintandem_notify.plugins.border import ATTRIBUTE_NAMES, ConventionBroken
from aintandem_notify.plugins.discovery.sources import NOT_PYDANTICS_FIELD

_NEAR: Final = 0.8
"""Likeness of a name from which it is probably a misspelt one: ``on_events``, ``delivr``."""
_IMPL_MARK: Final = f"{PROJECT}_impl"
_SPEC_MARK: Final = f"{PROJECT}_spec"

HOOK_ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(list(inspect.signature(spec).parameters)[1:])
    for name, spec in vars(HookSpecs).items()
    if hasattr(spec, _SPEC_MARK)
}
"""The names of each hook's arguments, by hook."""

_MAY_IGNORE_ARGUMENTS: Final = frozenset(name for name in HOOK_ARGUMENTS if name.startswith("on_"))
"""Live hooks, which may only count their calls; ``deliver`` without the notification loses it."""
_VARIABLE: Final = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})
_BY_NAME: Final = frozenset({inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY})


def nearest_hook(name: str) -> str | None:
    """The hook with the most similar name, None if no name is similar."""
    return next(iter(difflib.get_close_matches(name, HOOK_ARGUMENTS, n=1, cutoff=0.6)), None)


def plugin_class_of(module: ModuleType) -> type[Plugin[Any]]:
    """The only public subclass of ``Plugin`` that the module or its package defines; raises ConventionBroken."""
    own = module.__name__
    candidates = {
        item: None
        for name, item in vars(module).items()
        if inspect.isclass(item)
        and issubclass(item, Plugin)
        and not name.startswith("_")
        and (item.__module__ == own or item.__module__.startswith(f"{own}."))
    }
    match list(candidates):
        case [plugin_class]:
            return plugin_class
        case []:
            raise ConventionBroken("the module defines no public subclass of Plugin")
        case classes:
            names = ", ".join(sorted(item.__name__ for item in classes))
            raise ConventionBroken(
                f"the module defines several plugins, {names}; define one plugin in each module,"
                " and begin the names of base classes with an underscore"
            )


def check_module(module: ModuleType) -> None:
    """Raises ConventionBroken for a hook outside of the class: nothing would call it."""
    for name, item in list(vars(module).items()):
        if inspect.isfunction(item) and item.__module__ == module.__name__ and vars(item).get(_IMPL_MARK):
            raise ConventionBroken(
                f"{name} is a hook, but no method; move it into the plugin's class",
                line=item.__code__.co_firstlineno,
            )


def class_warnings(plugin_class: type[Plugin[Any]]) -> list[tuple[str, str]]:
    """Probable mistakes in the class that are no errors: the attribute, and a sentence."""
    warnings = []
    for name, attribute in _attributes_of(plugin_class):
        if name.startswith("_") or hasattr(Plugin, name):
            continue
        function = attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
        if name in _MAY_IGNORE_ARGUMENTS and not _declares(function, HOOK_ARGUMENTS[name]):
            warnings.append((name, f"{name} does not get its event; write it as {name}(self, event)"))
        elif name in HOOK_ARGUMENTS:
            continue
        elif not inspect.isfunction(function):
            near = difflib.get_close_matches(name, ATTRIBUTE_NAMES, n=1, cutoff=_NEAR)
            if near:
                warnings.append((name, f"{name} means nothing to the agent; did you mean {near[0]}?"))
        elif vars(function).get(_IMPL_MARK) is None and (hook := _nearly_hook(name)) is not None:
            wanted = f"{hook}({', '.join(['self', *HOOK_ARGUMENTS[hook]])}) under @hookimpl"
            warnings.append((name, f"{name} is no hook, so the agent never calls it; did you mean {wanted}?"))
    return warnings


def _declares(function: Any, names: Collection[str]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return takes_any or {parameter.name for parameter in parameters}.issuperset(names)


def _nearly_hook(name: str) -> str | None:
    """The hook that a method of this name was probably meant to be."""
    return next(iter(difflib.get_close_matches(name.lower(), HOOK_ARGUMENTS, n=1, cutoff=_NEAR)), None)


def config_model_of(plugin_class: type[Plugin[Any]]) -> type[PluginConfig]:
    """The config model in ``Plugin[…]`` of the class or of a base class; ``PluginConfig`` without one.

    Raises ConventionBroken for a model that cannot be one.
    """
    argument = _plugin_argument(plugin_class, {})
    if argument is None:
        return PluginConfig
    if not (inspect.isclass(argument) and issubclass(argument, PluginConfig)):
        name = getattr(argument, "__forward_arg__", None) or getattr(argument, "__name__", argument)
        raise ConventionBroken(f"Plugin[{name}] must name a class that inherits from PluginConfig", plugin_class)
    _resolve_references(argument)
    for name, key in argument.model_fields.items():
        if type(key.default) is Field:
            raise ConventionBroken(f"{name}: {NOT_PYDANTICS_FIELD}", argument, name)
    for name, reserved in PluginConfig.model_fields.items():
        own = argument.model_fields.get(name)
        if own is None or not _keeps_type(own, reserved):
            raise ConventionBroken(
                f"{argument.__name__}.{name} is a reserved key; its type cannot change", argument, name
            )
    return argument


def _resolve_references(model: type[PluginConfig]) -> None:
    """Resolve the model's forward references; raises ConventionBroken for an undefined name."""
    try:
        model.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise ConventionBroken(f"{model.__name__}: the type {error.name!r} is not defined", model) from None


def _keeps_type(own: FieldInfo, reserved: FieldInfo) -> bool:
    """True if both accept the same values; bounds may differ, and None may be excluded."""
    alternatives = [(reserved.annotation, reserved.metadata)]
    for part in get_args(reserved.annotation):
        annotated = get_origin(part) is Annotated
        alternatives.append((get_args(part)[0], list(get_args(part)[1:])) if annotated else (part, []))
    return any(
        own.annotation == annotation
        and all(item in own.metadata for item in metadata if isinstance(item, BeforeValidator))
        for annotation, metadata in alternatives
        if annotation is not type(None)
    )


def _plugin_argument(cls: type, bindings: Mapping[Any, Any]) -> Any:
    """The argument of ``Plugin[…]`` in the bases of ``cls``, with type variables resolved; None without one."""
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        arguments = [bindings.get(item) if isinstance(item, TypeVar) else item for item in get_args(base)]
        if origin is Plugin:
            return arguments[0] if arguments else None
        if inspect.isclass(origin) and issubclass(origin, Plugin):
            parameters = getattr(origin, "__parameters__", ())
            return _plugin_argument(origin, dict(zip(parameters, arguments, strict=False)))
    return None


def implemented_hooks(plugin_class: type[Plugin[Any]]) -> frozenset[str]:
    """The hooks that the class implements; raises ConventionBroken for the first violation."""
    _check_identity(plugin_class)
    _check_init(plugin_class)
    checked = (_check_attribute(plugin_class, name, method) for name, method in _attributes_of(plugin_class))
    hooks = [hook for hook in checked if hook is not None]
    if not hooks:
        raise ConventionBroken(
            f"{plugin_class.__name__} implements no hook; write one of {', '.join(sorted(HOOK_ARGUMENTS))}"
            " under @hookimpl",
            plugin_class,
        )
    for hook in hooks:
        if hooks.count(hook) > 1:
            raise ConventionBroken(f"{plugin_class.__name__} implements {hook} more than once", plugin_class, hook)
    return frozenset(hooks)


def _check_identity(plugin_class: type[Plugin[Any]]) -> None:
    if plugin_class.__eq__ is not object.__eq__:
        raise ConventionBroken(
            f"{plugin_class.__name__} defines __eq__ (as a dataclass does: use eq=False);"
            " its instances must be distinguishable",
            plugin_class,
        )


def _check_init(plugin_class: type[Plugin[Any]]) -> None:
    init = inspect.getattr_static(plugin_class, "__init__")
    if not inspect.isfunction(init):
        return
    required = [
        parameter.name
        for parameter in list(inspect.signature(init).parameters.values())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if required:
        raise ConventionBroken(
            f"__init__ requires {', '.join(required)}, but gets nothing; set up in lifespan, with self.config",
            plugin_class,
            "__init__",
        )


def _check_attribute(plugin_class: type[Plugin[Any]], name: str, attribute: Any) -> str | None:
    try:
        return _check_method(name, attribute)
    except ConventionBroken as broken:
        raise ConventionBroken(str(broken), plugin_class, name) from None


def _attributes_of(plugin_class: type) -> Iterator[tuple[str, Any]]:
    for name in dir(plugin_class):
        if not (name.startswith("__") and name.endswith("__")):
            yield name, inspect.getattr_static(plugin_class, name)


def _check_method(name: str, attribute: Any) -> str | None:
    """The hook that the attribute implements; None if it is no hook."""
    function = attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
    if not inspect.isfunction(function):
        # A class attribute can be any object, even one that claims to have every attribute.
        if name in HOOK_ARGUMENTS:
            raise ConventionBroken(f"{name} is the name of a hook, but no method")
        return None
    options = vars(attribute).get(_IMPL_MARK) or vars(function).get(_IMPL_MARK)
    if options is None:
        if name in HOOK_ARGUMENTS:
            raise ConventionBroken(f"{name} is the name of a hook: add @hookimpl, or call it something else")
        return None
    hook = options.get("specname") or name
    if hook not in HOOK_ARGUMENTS:
        if options.get("optionalhook"):
            return None
        nearest = nearest_hook(hook)
        raise ConventionBroken(
            f"{hook} is no hook; {f'did you mean {nearest}?' if nearest else 'remove @hookimpl'}"
        )
    if options.get("wrapper") or options.get("hookwrapper"):
        raise ConventionBroken(f"{hook}: hook wrappers are not supported; write @hookimpl without options")
    _check_arguments(hook, function, type(attribute))
    (_check_lifespan if hook == "lifespan" else partial(_check_no_yield, hook))(function)
    return str(hook)


def _check_arguments(hook: str, function: Any, kind: type) -> None:
    """Raises ConventionBroken if the agent's call, with all arguments by name, would fail or give too little."""
    parameters = list(inspect.signature(function).parameters.values())
    wanted = f"write it as {hook}({', '.join(['self', *HOOK_ARGUMENTS[hook]])})"
    if kind is not staticmethod:
        # A method needs the name: pluggy knows the argument by it.
        if not parameters or not (_is_self(parameters[0]) or kind is classmethod):
            raise ConventionBroken(f"{hook} has no self; {wanted}")
        if parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
            del parameters[0]
    by_name = {item.name: item for item in parameters if item.kind in _BY_NAME}
    for parameter in parameters:
        is_known = parameter.name in HOOK_ARGUMENTS[hook] and parameter.name in by_name
        is_optional = parameter.default is not parameter.empty or parameter.kind in _VARIABLE
        if not (is_known or is_optional):
            raise ConventionBroken(f"{hook} has an argument {parameter.name!r}; {wanted}")
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    for name in HOOK_ARGUMENTS[hook]:
        if name not in by_name and not takes_any and hook not in _MAY_IGNORE_ARGUMENTS:
            raise ConventionBroken(f"{hook} does not take {name!r}; {wanted}")


def _is_self(parameter: inspect.Parameter) -> bool:
    by_position = parameter.name == "self" and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    return parameter.kind is inspect.Parameter.VAR_POSITIONAL or by_position


def _check_lifespan(function: Any) -> None:
    inner = inspect.unwrap(function)
    if inner is not function and inspect.isasyncgenfunction(inner):
        return
    if inspect.isasyncgenfunction(function):
        raise ConventionBroken("lifespan is not a context manager yet: add @asynccontextmanager to it")
    if inspect.iscoroutinefunction(inner):
        raise ConventionBroken("lifespan must yield once, between set-up and tear-down")
    raise ConventionBroken("lifespan is not async; write it as async def under @asynccontextmanager")


def _check_no_yield(hook: str, function: Any) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConventionBroken(f"{hook} must not yield")
