"""The number of deliveries at a time: by default as the plugin's class says, else as the instance's key says."""

from pathlib import Path

import pytest

from aintandem_notify.agent.settings import instance_settings
from aintandem_notify.plugins.config_loading import load

CONFIG = """
[orchestrator]
url = "simulator"

[[projects]]
id = "p"

[plugins.webhook.x]
url = "http://127.0.0.1:9/"
{key}

[plugins.slack.x]
webhook_url = "http://127.0.0.1:9/"
{key}

[plugins.file_log.x]
path = "x.jsonl"
{key}

[plugins.console.x]
{key}

[[rules]]
name = "failures"
events = ["task_failed"]
notify = ["webhook.x", "slack.x", "file_log.x", "console.x"]
"""


@pytest.mark.parametrize(("key", "expected"), [("", [32, 1, 1, 1]), ("parallel = 7", [7] * 4)])
def test_the_key_of_the_instance_comes_before_the_class(tmp_path: Path, key: str, expected: list[int]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(key=key), encoding="utf-8")
    settings = instance_settings(load(config))
    destinations = [each.destination for each in settings.values()]
    assert [destination and destination.parallel for destination in destinations] == expected
