"""A made-up notification of every type reaches the tested destination, with any other configuration."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aintandem_notify.diagnostics import build_sample
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.plugins.config_loading import load

CONFIG = """
[orchestrator]
url = "simulator"
[[projects]]
id = "*"
[[projects]]
id = "project-7"
name = "Seven"
[plugins.console.quiet]
events = ["artifact"]
[plugins.file_log.audit]
path = "n.jsonl"
events = ["*", "connection/*", "agent/*"]
[[rules]]
name = "mine"
events = ["task_failed"]
notify = ["console.quiet", "file_log.audit"]
title = "My own title"
"""
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_is_marked_and_about_a_project_of_the_config(event_type: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(CONFIG, encoding="utf-8")
    notification = build_sample(load(path).config, "console.quiet", event_type, NOW)
    assert notification.title.startswith("Test: ")
    assert notification.event.type == event_type
    assert notification.occurred_at == NOW
    assert (notification.project.name if notification.project else None) == (
        "Seven" if notification.event.project_id else None
    )
