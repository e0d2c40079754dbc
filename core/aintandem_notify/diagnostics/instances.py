"""Sets plugin instances up and tears them down again; in between, checks them or sends a made-up notification."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from outcome import Value

from aintandem_notify.config import Config
from aintandem_notify.diagnostics.orchestrator import check_orchestrator
from aintandem_notify.diagnostics.results import CheckResult, Report
from aintandem_notify.diagnostics.sample import Sample
from aintandem_notify.diagnostics.store import check_store
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.http_client import HttpClient
from aintandem_notify.plugins import InstanceState, InstanceStatus, PluginHost, open_host
from aintandem_notify.plugins.border import describe_plugin_error
from aintandem_notify.plugins.config_loading import LoadedConfig

SETUP_TIMEOUT_S: Final = 30.0
"""Seconds that all instances together get for their set-up; a slower one is reported in its current state."""

DEADLINE_GRACE_S: Final = 1.0
"""Seconds that a delivery in a thread gets after its deadline. A running agent would wait until it ends."""


async def start_instances(loaded: LoadedConfig) -> tuple[InstanceStatus, ...]:
    """Returns the state of every instance after its set-up."""
    async with _http(loaded.config) as http, _instances(loaded, http, tuple(loaded.config.instances)) as host:
        return host.snapshot()


async def check_all(loaded: LoadedConfig, report: Report) -> None:
    """Checks the store, the orchestrator and its projects, then every instance in file order."""
    report(await check_store(loaded.config))
    async with _http(loaded.config) as http:
        await check_orchestrator(loaded.config, http, report)
        async with _instances(loaded, http, tuple(loaded.config.instances)) as host:
            for status in host.snapshot():
                report(await _check_instance(host, status))


async def send_sample(loaded: LoadedConfig, sample: Sample) -> CheckResult:
    """Delivers one made-up notification, and returns the result."""
    config, destination = loaded.config, sample.destination
    async with _http(config) as http, _instances(loaded, http, (destination,)) as host:
        (status,) = host.snapshot()
        if status.state is not InstanceState.LOADED:
            return CheckResult(destination, is_ok=False, detail=f"{status.state}: {status.reason}")
        timeout_s = config.instances[destination].common.timeout + DEADLINE_GRACE_S
        with trio.move_on_after(timeout_s) as limit:
            (result,) = await host.deliver(destination, [sample.notification])
        if limit.cancelled_caught:
            return CheckResult(destination, is_ok=False, detail=f"deliver has not ended after {timeout_s:g} s")
    if isinstance(result, Value):
        return CheckResult(destination, is_ok=True, detail="delivered")
    return CheckResult(destination, is_ok=False, detail=describe_plugin_error(result.error))


async def _check_instance(host: PluginHost, status: InstanceStatus) -> CheckResult:
    if status.state is not InstanceState.LOADED:
        return CheckResult(status.name, is_ok=False, detail=f"{status.state}: {status.reason}")
    try:
        has_check = await host.check(status.name)
    except Exception as error:  # noqa: BLE001  # the exception of the plugin's check is the result
        return CheckResult(status.name, is_ok=False, detail=describe_plugin_error(error))
    return CheckResult(status.name, is_ok=True, detail="" if has_check else _untried(status), is_tried=has_check)


def _untried(status: InstanceStatus) -> str:
    if status.destination:
        return f"not tried: the plugin has no check; aintandem-notify test {status.name} sends a sample"
    return (
        "not tried: the plugin has no check, and takes no notifications; once the agent runs, look at it with:"
        f" aintandem-notify plugins show {status.name}"
    )


def _http(config: Config) -> HttpClient:
    return HttpClient.configured(config.connection)


@asynccontextmanager
async def _instances(loaded: LoadedConfig, http: HttpClient, names: Sequence[str]) -> AsyncIterator[PluginHost]:
    """Yields a host with these instances, after their set-up has ended or timed out."""
    async with open_host(
        loaded.catalog,
        http=http,
        clock=SystemClock(),
        announce=lambda event: None,  # noqa: ARG005
        chance=random.random,
    ) as host:
        for name in names:
            await host.start(loaded.config.instances[name])
        with trio.move_on_after(SETUP_TIMEOUT_S):
            await host.wait_set_up()
        yield host
