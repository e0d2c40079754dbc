"""Measures notifications a second to one webhook by programs that people use for it: Apprise and Alertmanager."""

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from benchmarks.latency import listen
from benchmarks.processes import open_program
from benchmarks.webhook_receiver import Answer, RequestCounter

ALERTMANAGERS: Final = ("prometheus-alertmanager", "alertmanager")
"""The program's names: that of Debian, and its own."""
START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
ALERTS_PER_REQUEST: Final = 500

_ALERTMANAGER_CONFIG: Final = """
route:
  receiver: hook
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1h
  repeat_interval: 12h
receivers:
  - name: hook
    webhook_configs:
      - url: http://127.0.0.1:{port}/
        send_resolved: false
"""


class PeerMissing(Exception):
    """The program is not installed on this machine; the text says so."""


async def apprise_speed(answer: Answer, deliveries: int) -> float:
    """Notifications a second of Apprise, which keeps nothing. Raises PeerMissing."""
    if importlib.util.find_spec("apprise") is None:
        raise PeerMissing("the package apprise is not installed")
    counter = RequestCounter(deliveries, answer)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(listen, counter.serve)
        async with open_program(sys.executable, "-m", "benchmarks.apprise_peer", str(port), str(deliveries)):
            await counter.complete.wait()
        nursery.cancel_scope.cancel()
    return deliveries / counter.took_s


async def alertmanager_speed(answer: Answer, deliveries: int) -> float:
    """Notifications a second of Alertmanager, which keeps them in memory. Raises PeerMissing."""
    program = next(filter(None, map(shutil.which, ALERTMANAGERS)), None)
    if program is None:
        raise PeerMissing("Alertmanager is not installed")
    counter = RequestCounter(deliveries, answer)
    with tempfile.TemporaryDirectory(prefix="aintandem-benchmark-") as name:
        folder, own_port = Path(name), _free_port()
        async with trio.open_nursery() as nursery:
            port = await nursery.start(listen, counter.serve)
            (folder / "config.yml").write_text(_ALERTMANAGER_CONFIG.format(port=port), encoding="utf-8")
            options = (
                f"--config.file={folder / 'config.yml'}",
                f"--storage.path={folder}",
                f"--web.listen-address=127.0.0.1:{own_port}",
                "--cluster.listen-address=",
            )
            async with open_program(program, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                await _post_alerts(own_port, deliveries)
                await counter.complete.wait()
            nursery.cancel_scope.cancel()
    return deliveries / counter.took_s


async def _post_alerts(port: int, count: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        with trio.fail_after(START_TIMEOUT_S):
            while not await _is_ready(client):  # noqa: ASYNC110  # another process starts
                await trio.sleep(POLL_S)
        for first in range(0, count, ALERTS_PER_REQUEST):
            alerts = [_alert(number) for number in range(first, min(first + ALERTS_PER_REQUEST, count))]
            (await client.post("/api/v2/alerts", json=alerts)).raise_for_status()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/-/ready")).is_success
    except httpx.TransportError:
        return False


def _alert(number: int) -> Mapping[str, Any]:
    """An alert that is a group, and so a notification, of its own."""
    return {
        "labels": {"alertname": "task_failed", "task": f"task-{number:06}"},
        "annotations": {"summary": f"no such table: sales_{number}"},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
