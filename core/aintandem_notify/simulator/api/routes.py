"""What a REST call of the simulator is, and how its tables are filled."""

from collections.abc import Awaitable, Callable
from typing import Any

from aintandem_notify.simulator.api.request_parsing import ApiRequest

Call = Callable[[ApiRequest], Awaitable[Any]]
"""Answers one request with a JSON value; raises ApiError for what it refuses."""

Calls = dict[tuple[str, str], Call]
"""Calls by method and path without ``/api``."""


def route_registrar(calls: Calls) -> Callable[[str, str], Callable[[Call], Call]]:
    """A decorator that puts a call into ``calls``."""

    def route(method: str, path: str) -> Callable[[Call], Call]:
        def register(call: Call) -> Call:
            calls[method, path] = call
            return call

        return register

    return route
