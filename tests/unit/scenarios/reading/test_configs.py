"""The secrets of a scenario's config: they need not exist, and those that exist are read."""

from pathlib import Path
from typing import Any

import pytest

from aintandem_notify.config.findings import Finding
from aintandem_notify.plugins import Catalog
from aintandem_notify.scenarios.reading.configs import ConfigDocument, read_config

MISSING = {"env": "AINTANDEM_NOT_SET"}


def document(**tables: Any) -> ConfigDocument:
    return ConfigDocument.of_table(tables, Path("/nowhere/scenario.toml"), ("config",))


def test_a_table_without_orchestrator_and_projects_watches_all() -> None:
    config, findings = read_config(document(), Catalog())
    assert findings == []
    assert config is not None
    assert [project.id for project in config.projects] == ["*"]


def test_missing_secrets_of_every_form_are_replaced() -> None:
    plugins = {
        "slack": {"a": {"webhook_url": MISSING}, "b": {"bot_token": MISSING, "channel": "C0123456789"}},
        "webhook": {"a": {"url": MISSING, "secret": [MISSING, {"file": "none"}], "headers": {"X-Key": MISSING}}},
    }
    login = {"url": "https://orchestrator.example", "username": "admin", "password": MISSING}
    agent = {"heartbeat_url": MISSING}
    config, findings = read_config(document(plugins=plugins, orchestrator=login, agent=agent), Catalog())
    assert findings == []
    assert config is not None
    assert list(config.instances) == ["slack.a", "slack.b", "webhook.a"]


def test_a_secret_that_exists_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINTANDEM_SET", "no address")
    config, findings = read_config(
        document(plugins={"webhook": {"a": {"url": {"env": "AINTANDEM_SET"}}}}), Catalog()
    )
    assert config is None
    assert [finding.place for finding in findings] == [("config", "plugins", "webhook", "a", "url")]


def test_a_mistake_beside_a_missing_secret_is_reported() -> None:
    config, findings = read_config(document(plugins={"webhook": {"a": {"url": MISSING, "scret": "x"}}}), Catalog())
    assert config is None
    assert findings == [
        Finding(("config", "plugins", "webhook", "a", "scret"), "unknown key; did you mean secret?")
    ]


def test_a_secret_that_no_placeholder_can_replace(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "picky.py").write_text(
        """
from typing import Annotated
from pydantic import AfterValidator
from aintandem_notify.api import Plugin, PluginConfig, Secret, hookimpl

def check(secret: Secret) -> Secret:
    if secret.reveal() != "the one":
        raise ValueError("is not the one")
    return secret

class Config(PluginConfig):
    key: Annotated[Secret, AfterValidator(check)]
    limit: int = 1

class Picky(Plugin[Config]):
    @hookimpl
    def deliver(self, notification):
        pass
""",
        encoding="utf-8",
    )
    tables = {"plugins": {"picky": {"a": {"key": MISSING, "limit": "x"}}}}
    config, findings = read_config(ConfigDocument.of_table(tables, tmp_path / "s.toml", ("config",)), Catalog())
    assert config is None
    assert [(finding.place[-1], finding.message) for finding in findings] == [
        ("limit", "should be a whole number, not a text"),
        (
            "key",
            (
                "the environment variable AINTANDEM_NOT_SET is not set, and no placeholder will do: "
                "set it to any value that is accepted"
            ),
        ),
    ]
