"""Configs with watches, and the events of watches that a bench has led to."""

import json
from dataclasses import replace
from typing import Any

from aintandem_notify.config import Config
from aintandem_notify.config.watch_config import WatchConfig
from aintandem_notify.domain.events import restore_event
from support.outbox import NOW
from support.routing import config, destination, rule
from support.staging import StageBench

SLACK = destination("slack.team")


def watch(kind: str, name: str | None = None, **keys: Any) -> WatchConfig:
    """A watch of that kind, which has its name unless another is given."""
    return WatchConfig.model_validate({"name": name or kind, "kind": kind} | keys)


def watching(*watches: WatchConfig, **stages: Any) -> Config:
    """A config with these watches; failures of tasks go to ``slack.team``."""
    return replace(config(SLACK, rule("failures", "task_failed", "slack.team", **stages)), watches=watches)


async def notified(bench: StageBench) -> list[tuple[int, str, str]]:
    """The events of watches that the team was told: seconds after ``NOW``, the type, and the run."""
    return [
        (at, notification.event.type, notification.event.about)  # type: ignore[attr-defined]
        for at, notification in await bench.notifications()
        if notification.event.family == "watch"
    ]


async def happened(bench: StageBench) -> list[tuple[int, str, str]]:
    """All events of watches in the journal, with the seconds from ``NOW`` to their time, in this order."""

    def read(store: Any) -> list[tuple[int, str, str]]:
        with store.transaction():
            rows = store._connection.exec_driver_sql("SELECT wire FROM events WHERE family = 'watch'").all()
        events = [restore_event(json.loads(row[0])) for row in rows]
        return sorted(
            (round((event.timestamp - NOW).total_seconds()), event.type, event.about)  # type: ignore[attr-defined]
            for event in events
        )

    return await bench.storage.run(read)


async def timers(bench: StageBench) -> int:
    """The number of timers in the store."""

    def count(store: Any) -> int:
        with store.transaction():
            return int(store._connection.exec_driver_sql("SELECT count(*) FROM watch_timers").scalar_one())

    return await bench.storage.run(count)
