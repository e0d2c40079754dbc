"""Checks that the store can be opened by this version, without changing it."""

import trio

from aintandem_notify.config import Config, store_location
from aintandem_notify.diagnostics.results import CheckResult
from aintandem_notify.errors import StoreError
from aintandem_notify.foundation.threads import run_in_thread
from aintandem_notify.log import redact
from aintandem_notify.store import probe_store

STORE_TIMEOUT_S = 15.0
"""Seconds that the store gets to answer."""


async def check_store(config: Config) -> CheckResult:
    """Opens the store for reading, looks at its version, and closes it again."""
    try:
        location = store_location(config.source, config.store, embedded=config.orchestrator.embedded)
        if location is None:
            return CheckResult("store", is_ok=True, detail="a temporary one, for the embedded simulator")
        with trio.fail_after(STORE_TIMEOUT_S):
            detail = await run_in_thread(
                probe_store, location, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
            )
    except trio.TooSlowError:
        return CheckResult("store", is_ok=False, detail=f"no answer within {STORE_TIMEOUT_S:g} s")
    except StoreError as error:
        return CheckResult("store", is_ok=False, detail=redact(str(error)).removeprefix("store "))
    return CheckResult("store", is_ok=True, detail=redact(detail))
