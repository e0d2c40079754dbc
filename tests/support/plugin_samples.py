"""Notifications and plugin instances as the agent makes them, for the tests of plugins."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from aintandem_notify.api import (
    HttpClient,
    Notification,
    Plugin,
    PluginConfig,
    PluginContext,
    Project,
    Run,
    Severity,
)
from aintandem_notify.config.types.values import ValidationContext
from aintandem_notify.domain.events import Family, restore_event
from aintandem_notify.domain.runs import RunState
from aintandem_notify.foundation.clock import SystemClock
from aintandem_notify.log import get_logger

NOON = datetime(2026, 3, 1, 12, 0, 5, 250_000, tzinfo=UTC)

PluginT = TypeVar("PluginT", bound=Plugin[Any])


def failed_task(**changes: Any) -> Notification:
    """A notification about a task that failed after 42 s; ``changes`` replace its fields."""
    run = Run(
        "project-123",
        Family.TASK,
        "task-1",
        attempt=2,
        state=RunState.FAILED,
        name="Nightly import",
        started_at=NOON - timedelta(seconds=42),
        ended_at=NOON,
    )
    wire = {
        "type": "task_failed",
        "timestamp": NOON.isoformat(),
        "projectId": "project-123",
        "taskId": "task-1",
        "error": "no space left",
        "extraField": {"kept": True},
    }
    values: dict[str, Any] = {
        "id": "ntf_" + "0" * 31 + "1",
        "thread": run.thread,
        "severity": Severity.ERROR,
        "title": "Nightly import failed",
        "body": "no space left",
        "event": restore_event(wire),
        "run": run,
        "project": Project(id="project-123", name="Sales pipeline"),
        "rule": "failures",
        "created_at": NOON,
    }
    return Notification(**(values | changes))


def configured(plugin_class: type[PluginT], model: type[PluginConfig], base_dir: Path, **keys: Any) -> PluginT:
    """An instance of ``plugin_class`` with ``keys`` as its table in a config file in ``base_dir``.

    Inside ``trio.run`` it has a context, but no HTTP client and no nursery: for plugins that use neither.
    """
    plugin = plugin_class()
    plugin.config = model.model_validate(keys, context={"config": ValidationContext(base_dir=base_dir)})
    plugin.context = PluginContext(
        name="sample.one",
        http=cast("HttpClient", None),
        log=get_logger("sample.one"),
        nursery=cast("trio.Nursery", None),
        clock=SystemClock(),
    )
    return plugin
