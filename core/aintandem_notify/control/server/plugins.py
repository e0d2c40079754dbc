"""A plugin instance in detail: where it stands, and what it says of itself."""

from typing import Any, Final

import trio

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import PluginDetailResponse, PluginResponse
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.log import describe_error, redact_values

ANSWER_TIMEOUT_S: Final = 10.0
"""Seconds that a plugin may take for its answer; whoever asks waits for it."""


async def plugin_detail(access: AgentAccess, name: str) -> PluginDetailResponse:
    """Where the instance stands, and what its ``diagnostics`` give; raises Refused for one that is not there."""
    found = {one.name: one for one in access.plugins()}
    if name not in found:
        raise RequestRefused(f"there is no instance {name}; there are: {', '.join(found) or 'none'}", status=404)
    facts: dict[str, Any] = {}
    silence: str | None = f"its plugin has not answered within {ANSWER_TIMEOUT_S:.0f} s"
    with trio.move_on_after(ANSWER_TIMEOUT_S):
        try:
            facts = redact_values(dict(await access.diagnose(name)))
            silence = None
        except Exception as error:  # noqa: BLE001  # whatever the plugin raises is the answer
            silence = describe_error(error)
    return PluginDetailResponse(**dict(PluginResponse.model_validate(found[name])), facts=facts, silence=silence)
