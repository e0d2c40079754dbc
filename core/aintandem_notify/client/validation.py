"""Checks the arguments of ``AInTandemClient``.

One rule for each; messages speak of Python, not of a config file.
"""

import math
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aintandem_notify.config import Secret
from aintandem_notify.config.types.addresses import address_ranges, proxy_address, proxy_exemptions, web_address
from aintandem_notify.config.types.values import MAX_DURATION_S
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.orchestrator.auth.tokens import is_token
from aintandem_notify.orchestrator.link.dial import client_context

SOURCE: Final = "AInTandemClient"
"""The source that ConfigError names."""

Rule = Callable[[object], str | None]
"""Returns the problem of a value, or None. The text never repeats a secret."""


def check_settings(settings: Mapping[str, object]) -> None:
    """Raise ConfigError with one problem for each of ``settings`` that cannot be used."""
    results = [(name, RULES[name](value)) for name, value in settings.items()]
    problems = [Problem(problem, name) for name, problem in results if problem is not None]
    if settings.get("token") is not None and settings.get("tokens") is not None:
        problems.append(Problem("should not be given together with token: there is no login to store", "tokens"))
    if problems:
        raise ConfigError(problems, SOURCE)


def _base_url(value: object) -> str | None:
    address = "begin with http:// or https://"
    if not isinstance(value, str):
        return f"should {address}"
    try:
        parts = urlsplit(web_address(value, address))
    except ValueError as error:
        return str(error)
    if "@" in parts.netloc:
        return "should not hold a login; call client.auth.login"
    return (
        "should end before the ? or #; the API's paths are added to it" if parts.query or parts.fragment else None
    )


def _tokens(value: object) -> str | None:
    acts = (getattr(value, name, None) for name in ("load", "save", "clear"))
    return None if value is None or all(map(callable, acts)) else 'should be a token store, as FileTokens("path")'


def _token(value: object) -> str | None:
    return None if value is None or is_token(value) else "should be one word of plain letters, digits and signs"


def _seconds(value: object) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value) or value <= 0:
        return "should be a number of seconds above 0"
    return None if value <= MAX_DURATION_S else "is longer than a hundred years"


def _count(value: object) -> str | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if is_count else "should be a whole number of at least 0"


def _count_or_none(value: object) -> str | None:
    return None if value is None or _count(value) is None else f"{_count(value)}, or None for no limit"


def _proxy(value: object) -> str | None:
    if value is None:
        return None
    try:
        proxy_address(Secret(value if isinstance(value, str) else ""))
    except ValueError as error:
        return str(error)
    return None


def _texts(check: Callable[[tuple[str, ...]], object]) -> Rule:
    """A rule for a list of texts that ``check`` accepts or raises ValueError for."""

    def rule(value: object) -> str | None:
        if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
            return "should be a list of texts"
        try:
            check(tuple(value))
        except ValueError as error:
            return str(error)
        return None

    return rule


def _ca_file(value: object) -> str | None:
    try:
        if isinstance(value, str | PathLike):
            client_context(Path(value).expanduser())
        elif value is not None:
            return "should be the path of a PEM file"
    except ConfigError as error:
        return error.problems[0].message
    except (TypeError, ValueError, RuntimeError):  # a path of bytes, a NUL in it, no home for its ~
        return "should be the path of a PEM file"
    return None


def _callback(value: object) -> str | None:
    return None if value is None or callable(value) else "should be a function or another callable"


RULES: Final[Mapping[str, Rule]] = {
    "base_url": _base_url,
    "tokens": _tokens,
    "token": _token,
    "connect_timeout": _seconds,
    "request_timeout": _seconds,
    "heartbeat_interval": _seconds,
    "reconnect_attempts": _count_or_none,
    "reconnect_initial_delay": _seconds,
    "reconnect_max_delay": _seconds,
    "proxy": _proxy,
    "no_proxy": _texts(proxy_exemptions),
    "allow_addresses": _texts(address_ranges),
    "ca_file": _ca_file,
    "history_limit": _count,
    "result_limit": _count,
    "on_error": _callback,
}
"""Every argument of ``AInTandemClient`` except ``clock``."""
