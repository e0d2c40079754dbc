"""The type of a REST call, and the decorator that fills the tables of calls."""

from collections.abc import Awaitable, Callable
from typing import Any

from aintandem_notify.simulator.api.request_parsing import ApiRequest

Call = Callable[[ApiRequest], Awaitable[Any]]
"""Answers a request with a JSON value. Raises ApiError to refuse it."""

Calls = dict[tuple[str, str], Call]
"""Calls by method and path without ``/api``."""


def route_registrar(calls: Calls) -> Callable[[str, str], Callable[[Call], Call]]:
    """A decorator that adds a call to ``calls``."""

    def route(method: str, path: str) -> Callable[[Call], Call]:
        def register(call: Call) -> Call:
            calls[method, path] = call
            return call

        return register

    return route
