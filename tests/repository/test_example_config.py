"""The example config is valid as it is, and also with its comments turned into settings."""

import re
from pathlib import Path

from aintandem_notify.config import json_schema
from aintandem_notify.plugins.config_loading import load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
ENVIRON = {
    "AINTANDEM_PASSWORD": "secret-1234",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T000/B000/secret",
    "SLACK_BOT_TOKEN": "xoxb-0000-0000-secret",
    "HEARTBEAT_URL": "https://hc.example/ping/5f0c",
    "OPS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
EITHER_OR = ('url = "simulator"', "token =", "ca_file =", "plugins_dir =")
"""Lines that exclude others, or that need a file or folder."""


def test_the_example_needs_nothing_around_it() -> None:
    config = load(EXAMPLE, environ={}).config
    assert config.orchestrator.embedded
    assert set(config.instances) == {"console.terminal", "file_log.audit"}


def test_every_key_of_the_agent_stands_in_it() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    named = set(re.findall(r"^(?:# )?([a-z_]+) = |^(?:# )?\[+(\w+)", "\n".join(lines), re.MULTILINE))
    named |= {
        (key, "")
        for inline in re.findall(r"\{(.*?)\}", "\n".join(lines))
        for key in re.findall(r"(\w+) =", inline)
    }
    schema = json_schema([])
    keys = {key for model in schema["definitions"].values() for key in model.get("properties", ())}
    assert {*keys, *schema["properties"]} - {key or table for key, table in named} == set()


def test_everything_in_comments_is_right_too(tmp_path: Path) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    uncommented = [re.sub(r"^# (?=\[|[a-z_]+ = )", "", line) for line in lines]
    path = tmp_path / "config.toml"
    path.write_text("\n".join(line for line in uncommented if not line.startswith(EITHER_OR)), encoding="utf-8")
    loaded = load(path, environ=ENVIRON)
    assert len(loaded.config.instances) == 6
    assert len(loaded.config.rules) == 6
    assert loaded.config.connection.proxy is not None
    assert loaded.router.warnings() == []
