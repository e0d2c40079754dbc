"""Faults and activity on demand over REST, for a client in another process. The calls need no token.

``POST /simulator/faults`` takes ``{"fault": …}`` and the fault's arguments, ``POST /simulator/all-types`` takes
``{"projectId": …}``, and ``GET /simulator`` returns the number of sockets of each project.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import ApiRequest
from aintandem_notify.simulator.api.routes import Call
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator

RESTART_DELAY_S: Final = 0.1
"""Seconds before a requested restart, for the response to be sent; our choice."""


def _count(request: ApiRequest) -> int:
    return int(request.number("count") or 1)


def _code(request: ApiRequest, name: str) -> int | None:
    code = request.number(name)
    if code is not None and not 1000 <= code <= 4999:
        raise ApiError(f"{name} must be 1000 to 4999", status=400, code="INVALID_VALUE")
    return int(code) if code is not None else None


def _drop(request: ApiRequest) -> None:
    code = _code(request, "code")
    request.simulator.drop(request.text("projectId"), code=code, reset=request.flag("reset") or False)


def _stall(request: ApiRequest) -> None:
    request.simulator.stall(request.text("projectId"), seconds=request.number("seconds"))


def _resume(request: ApiRequest) -> None:
    request.simulator.resume(request.text("projectId"))


def _duplicate(request: ApiRequest) -> None:
    request.simulator.duplicate(_count(request))


def _malformed(request: ApiRequest) -> None:
    content = request.text("frame")
    frame = content if content is not None else '{"type": "task_failed", '
    binary = request.flag("binary") or False
    request.simulator.send(
        request.required("projectId"), frame.encode(errors="surrogatepass") if binary else frame
    )


def _expire(request: ApiRequest) -> None:
    code = _code(request, "code")
    request.simulator.expire_tokens(refresh_tokens=request.flag("refreshTokens") or False, close_code=code)


def _fail(request: ApiRequest) -> None:
    request.simulator.fail_requests(_count(request), status=int(request.number("status") or 503))


def _delay(request: ApiRequest) -> None:
    seconds = request.number("seconds")
    request.simulator.delay_requests(_count(request), seconds=1.0 if seconds is None else seconds)


def _rerun(request: ApiRequest) -> None:
    request.simulator.tasks.rerun(
        request.required("projectId"),
        request.required("taskId"),
        outcome=request.outcome(),
        seconds=request.number("seconds"),
    )


def _refuse(request: ApiRequest) -> None:
    request.simulator.refuse_logins(_count(request))


def _restart(request: ApiRequest) -> None:
    seconds = request.number("seconds")
    request.simulator.nursery.start_soon(_restart_soon, request.simulator, 1.0 if seconds is None else seconds)


async def _restart_soon(simulator: Simulator, seconds: float) -> None:
    # The response to this request is sent first: the restart cuts every connection.
    await trio.sleep(RESTART_DELAY_S)
    await simulator.restart(seconds)


FAULTS: Final[Mapping[str, Callable[[ApiRequest], None]]] = {
    "drop": _drop,
    "stall": _stall,
    "resume": _resume,
    "duplicate": _duplicate,
    "malformed": _malformed,
    "expire_tokens": _expire,
    "fail_requests": _fail,
    "delay_requests": _delay,
    "refuse_logins": _refuse,
    "rerun": _rerun,
    "restart": _restart,
}
"""The faults by name."""


async def _cause_fault(request: ApiRequest) -> Any:
    name = request.required("fault")
    if (fault := FAULTS.get(name)) is None:
        raise ApiError(f"no such fault: {name}; there are {', '.join(FAULTS)}", status=400, code="INVALID_VALUE")
    fault(request)
    return {"fault": name}


async def _all_types(request: ApiRequest) -> Any:
    return {"ids": await all_types(request.simulator, request.required("projectId"))}


async def _overview(request: ApiRequest) -> Any:
    return {"subscribers": request.simulator.overview()}


CONTROL_CALLS: Final[Mapping[tuple[str, str], Call]] = {
    ("GET", "/simulator"): _overview,
    ("POST", "/simulator/faults"): _cause_fault,
    ("POST", "/simulator/all-types"): _all_types,
}
"""The calls by method and path."""
