"""Faults and activity on demand over REST, for a client in another process; needs no token.

``POST /simulator/faults`` takes ``{"fault": …}`` and what goes with it; ``POST /simulator/all-types`` takes
``{"projectId": …}``; ``GET /simulator`` says who watches what.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from aintandem_notify.errors import ApiError
from aintandem_notify.simulator.api.request_parsing import Asked
from aintandem_notify.simulator.api.routes import Call
from aintandem_notify.simulator.demo import all_types
from aintandem_notify.simulator.simulation import Simulator

ANSWER_TIME: Final = 0.1
"""Seconds that the answer to a restart's request has to get out; ours."""


def _count(asked: Asked) -> int:
    return int(asked.number("count") or 1)


def _code(asked: Asked, name: str) -> int | None:
    code = asked.number(name)
    if code is not None and not 1000 <= code <= 4999:
        raise ApiError(f"{name} must be 1000 to 4999", status=400, code="INVALID_VALUE")
    return int(code) if code is not None else None


def _drop(asked: Asked) -> None:
    code = _code(asked, "code")
    asked.simulator.drop(asked.text("projectId"), code=code, reset=asked.flag("reset") or False)


def _stall(asked: Asked) -> None:
    asked.simulator.stall(asked.text("projectId"), seconds=asked.number("seconds"))


def _resume(asked: Asked) -> None:
    asked.simulator.resume(asked.text("projectId"))


def _duplicate(asked: Asked) -> None:
    asked.simulator.duplicate(_count(asked))


def _malformed(asked: Asked) -> None:
    content = asked.text("frame")
    frame = content if content is not None else '{"type": "task_failed", '
    binary = asked.flag("binary") or False
    asked.simulator.send(asked.required("projectId"), frame.encode(errors="surrogatepass") if binary else frame)


def _expire(asked: Asked) -> None:
    code = _code(asked, "code")
    asked.simulator.expire_tokens(refresh_tokens=asked.flag("refreshTokens") or False, close_code=code)


def _fail(asked: Asked) -> None:
    asked.simulator.fail_requests(_count(asked), status=int(asked.number("status") or 503))


def _delay(asked: Asked) -> None:
    seconds = asked.number("seconds")
    asked.simulator.delay_requests(_count(asked), seconds=1.0 if seconds is None else seconds)


def _rerun(asked: Asked) -> None:
    asked.simulator.tasks.rerun(
        asked.required("projectId"),
        asked.required("taskId"),
        outcome=asked.outcome(),
        seconds=asked.number("seconds"),
    )


def _refuse(asked: Asked) -> None:
    asked.simulator.refuse_logins(_count(asked))


def _restart(asked: Asked) -> None:
    seconds = asked.number("seconds")
    asked.simulator.nursery.start_soon(_restart_soon, asked.simulator, 1.0 if seconds is None else seconds)


async def _restart_soon(simulator: Simulator, seconds: float) -> None:
    # The answer to this very request goes out first: the restart cuts every connection.
    await trio.sleep(ANSWER_TIME)
    await simulator.restart(seconds)


FAULTS: Final[Mapping[str, Callable[[Asked], None]]] = {
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


async def _make_fault(asked: Asked) -> Any:
    name = asked.required("fault")
    if (fault := FAULTS.get(name)) is None:
        raise ApiError(f"no such fault: {name}; there are {', '.join(FAULTS)}", status=400, code="INVALID_VALUE")
    fault(asked)
    return {"fault": name}


async def _all_types(asked: Asked) -> Any:
    return {"ids": await all_types(asked.simulator, asked.required("projectId"))}


async def _overview(asked: Asked) -> Any:
    return {"subscribers": asked.simulator.overview()}


CONTROL_CALLS: Final[Mapping[tuple[str, str], Call]] = {
    ("GET", "/simulator"): _overview,
    ("POST", "/simulator/faults"): _make_fault,
    ("POST", "/simulator/all-types"): _all_types,
}
"""The calls by method and path."""
