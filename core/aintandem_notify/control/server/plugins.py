"""One plugin instance in detail: its state, and the facts that its ``diagnostics`` hook returns."""

from typing import Any

import trio

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import PluginDetailResponse, PluginResponse
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.log import describe_error, redact_values


async def plugin_detail(access: AgentAccess, name: str) -> PluginDetailResponse:
    """Returns the instance's state and facts. Raises RequestRefused if there is no such instance."""
    instances = {instance.name: instance for instance in access.plugins()}
    if name not in instances:
        raise RequestRefused(
            f"there is no instance {name}; there are: {', '.join(instances) or 'none'}", status=404
        )
    facts: dict[str, Any] = {}
    silence: str | None = f"the plugin did not answer within {access.times.plugin_s:.0f} s"
    with trio.move_on_after(access.times.plugin_s):
        try:
            facts = redact_values(dict(await access.diagnose(name)))
            silence = None
        except Exception as error:  # noqa: BLE001  # the plugin's exception is the result
            silence = describe_error(error)
    return PluginDetailResponse(
        **dict(PluginResponse.model_validate(instances[name])), facts=facts, silence=silence
    )
