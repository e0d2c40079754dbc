"""Loading a valid config."""

from pathlib import Path

import pytest

from aintandem_notify import log
from aintandem_notify.config import (
    AgentConfig,
    ConnectionConfig,
    DeliveryConfig,
    LogConfig,
    ProjectConfig,
    RuleConfig,
    Secret,
    StoreConfig,
    load,
    load_offline_config,
    state_file,
)
from aintandem_notify.config.models import STORE_SUFFIX
from aintandem_notify.domain.notification import Severity
from aintandem_notify.foundation.postgres_urls import POSTGRES_SCHEMES
from aintandem_notify.plugins import Catalog
from aintandem_notify.rules import JinjaRuleLanguage
from aintandem_notify.store.engine.postgres.url import parse_postgres_url
from support.config_texts import (
    CHAT,
    ENVIRON,
    FILE,
    MINIMAL,
    WHOLE,
    ChatConfig,
    FakeCatalog,
    FileConfig,
    load_text,
    problems,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "ca.pem").touch()
    return tmp_path


def test_everything_arrives_where_it_belongs(folder: Path) -> None:
    config = load_text(folder, WHOLE, ENVIRON)
    assert (config.source, config.base_dir) == (folder / "config.toml", folder)
    assert config.plugins_dir == folder / "mine"
    assert config.orchestrator.url == "http://localhost:9900"
    assert (config.orchestrator.username, config.orchestrator.password) == ("admin", Secret("pass word"))
    assert config.orchestrator.console_url == "https://console.example/projects/{{ project.id }}"
    assert not config.orchestrator.embedded
    assert config.projects == (ProjectConfig(id="project-123", name="Sales pipeline"), ProjectConfig(id="sales-*"))
    assert [project.is_glob for project in config.projects] == [False, True]
    assert config.rules == (
        RuleConfig(
            name="failures",
            events=("task_failed", "workflow_execution_failed", "sandbox_error"),
            projects=("project-123",),
            when="run.duration is none or run.duration > 60",
            notify=("slack.team", "file_log.audit"),
            severity=Severity.ERROR,
            mention=("here", "U123"),
            title="{{ run.name }} failed",
            body="{{ event.error }}",
        ),
    )
    assert config.connection == ConnectionConfig(
        connect_timeout=5,
        heartbeat_interval=60,
        reconnect_initial_delay=0.5,
        reconnect_max_delay=120,
        reconnect_attempts=10,
        catch_up_max=3600,
        discover_interval=60,
        proxy=Secret("http://proxy:3128"),
        no_proxy=("localhost", ".internal.example"),
        allow_addresses=("169.254.10.0/24",),
        ca_file=folder / "ca.pem",
    )
    assert config.store.url == f"sqlite:///{folder}/state.db"
    assert config.delivery == DeliveryConfig(drain_timeout=30, max_age=86400)
    assert config.agent == AgentConfig(heartbeat_url=Secret("https://hc.example/ping/1"), heartbeat_interval=30)
    assert config.control.address == ("::1", 9901)
    assert config.log == LogConfig(level="debug", format="json")


def test_the_enabled_instances_stand_by_name_in_the_order_of_the_file(folder: Path) -> None:
    config = load_text(folder, WHOLE, ENVIRON)
    assert [(name, instance.type, instance.delivers) for name, instance in config.instances.items()] == [
        ("slack.team", "slack", True),
        ("slack.me", "slack", True),
        ("file_log.audit", "file_log", True),
        ("prometheus.all", "prometheus", False),
    ]
    team, audit = config.instances["slack.team"].settings, config.instances["file_log.audit"].settings
    assert isinstance(team, ChatConfig)
    assert team.webhook_url == Secret("https://hooks.example/x")
    assert team.rate is not None
    assert (team.rate.interval, team.max_age, team.timeout) == (1.0, 86400.0, 30.0)
    assert (team.fallback, team.fallback_after, audit.fallback) == ("file_log.audit", 300.0, None)
    assert (team.digest_over, audit.digest_over) == (0, None)
    assert isinstance(audit, FileConfig)
    assert audit.path == folder / "notifications.jsonl"


def test_the_defaults_suit_a_stranger(tmp_path: Path) -> None:
    config = load_text(tmp_path, MINIMAL)
    assert config.orchestrator.embedded
    assert (config.instances, config.rules) == ({}, ())
    assert config.plugins_dir == tmp_path / "plugins"
    assert config.connection == ConnectionConfig(
        connect_timeout=10,
        heartbeat_interval=30,
        reconnect_initial_delay=1,
        reconnect_max_delay=30,
        reconnect_attempts=None,
        catch_up_max=24 * 3600,
        discover_interval=300,
        proxy=None,
        no_proxy=(),
        allow_addresses=(),
        ca_file=None,
    )
    assert config.store == StoreConfig(url=None, keep=30 * 86400)
    assert config.delivery == DeliveryConfig(drain_timeout=10, max_age=3 * 86400)
    assert config.agent == AgentConfig(heartbeat_url=None, heartbeat_interval=60)
    assert config.control.address == ("127.0.0.1", 0)
    assert config.log == LogConfig(level="info", format="auto")


@pytest.mark.parametrize(("written", "attempts"), [('"unlimited"', None), ("0", 0), ("10", 10)])
def test_reconnecting_has_a_limit_or_none(tmp_path: Path, written: str, attempts: int | None) -> None:
    config = load_text(tmp_path, MINIMAL + f"[connection]\nreconnect_attempts = {written}")
    assert config.connection.reconnect_attempts == attempts


def test_only_the_types_that_are_named_and_enabled_are_imported(folder: Path) -> None:
    catalog = FakeCatalog()
    load_text(
        folder,
        WHOLE.replace("[plugins.prometheus.all]", "[plugins.prometheus.all]\nenabled = false"),
        ENVIRON,
        catalog,
    )
    assert catalog.requested == ["slack", "file_log"]


def test_configs_compare_by_value(folder: Path) -> None:
    first, second = load_text(folder, WHOLE, ENVIRON), load_text(folder, WHOLE, ENVIRON)
    assert first == second
    changed = load_text(folder, WHOLE, {**ENVIRON, "SLACK_WEBHOOK_URL": "https://hooks.example/y"})
    assert changed != first
    different = [name for name, instance in changed.instances.items() if instance != first.instances[name]]
    assert different == ["slack.team"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path, catalog=FakeCatalog(), language=JinjaRuleLanguage(), environ={}).projects == (
        ProjectConfig(id="p1"),
    )


@pytest.mark.parametrize("stem", ["x" * 250, "\U0001f4a5" * 60, "\udce9" * 250])
def test_the_state_of_a_config_with_a_long_name_has_a_shorter_one(tmp_path: Path, stem: str) -> None:
    first, second = (
        state_file(Path(f"/etc/{name}.toml"), ".sqlite3", tmp_path) for name in (stem, stem[:-1] + "y")
    )
    first.with_name(f"{first.name}.damaged-20260301T120000Z").touch()
    assert first != second


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:////var/lib/state.db"])
def test_a_store_that_is_absolute_or_in_memory_stays_as_it_is(tmp_path: Path, url: str) -> None:
    assert load_text(tmp_path, MINIMAL + f"[store]\nurl = '{url}'").store.url == url


@pytest.mark.parametrize("written", ["'{}'", "{{ env = 'STORE' }}"])
def test_a_store_on_postgresql_is_a_secret(tmp_path: Path, written: str) -> None:
    url = "postgresql://notify:ge%20heim@db.example:5433/notify?sslmode=require"
    config = load_text(tmp_path, MINIMAL + f"[store]\nurl = {written.format(url)}", {"STORE": url})
    assert isinstance(config.store.url, Secret)
    assert config.store.url.reveal() == url
    assert "heim" not in repr(config)
    assert log.redact(f"at {url}: ge heim") == f"at {log.REDACTED}: {log.REDACTED}"


def test_an_instance_may_have_settings_of_its_own_under_the_default_rules(tmp_path: Path) -> None:
    text = MINIMAL + "[plugins.slack.team]\nprojects = ['sales-*']\nseverity = 'error'\nmention = ['here']"
    assert problems(tmp_path, text) == []
    assert problems(tmp_path, text + "\n[plugins.slack.me]\nevents = ['output']") == [
        f"{line}: plugins.slack.team.{key}: has no effect unless events is set; add events, or write it into"
        " a rule"
        for line, key in [(6, "projects"), (7, "severity"), (8, "mention")]
    ]


def test_every_config_has_a_store_of_its_own(tmp_path: Path) -> None:
    config = load_text(tmp_path, MINIMAL)
    path = state_file(config.source, STORE_SUFFIX, tmp_path / "state")
    assert path.parent == tmp_path / "state"
    assert path.name.startswith("config-")
    assert state_file(config.source, STORE_SUFFIX, tmp_path / "state") == path
    others = [tmp_path / "other" / "config.toml", tmp_path / "config2.toml"]
    assert len({path, *(state_file(other, STORE_SUFFIX, tmp_path / "state") for other in others)}) == 3
    roundabout = tmp_path / "other" / ".." / "config.toml"
    assert state_file(roundabout, STORE_SUFFIX, tmp_path / "state") == path


def test_the_store_stands_in_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = load_text(tmp_path, MINIMAL)
    path = state_file(config.source, STORE_SUFFIX)
    assert path.parent.name == "aintandem-notify"


def test_the_example_is_fine_with_the_plugins_that_are_built_in() -> None:
    example = Path(__file__).parents[3] / "config.example.toml"
    config = load(example, catalog=Catalog(), language=JinjaRuleLanguage(), environ={})
    assert config.orchestrator.embedded
    assert {instance.type for instance in config.instances.values()} >= {"console", "file_log"}


def test_the_names_of_the_fake_types_are_those_of_the_built_in_ones() -> None:
    assert {CHAT.name, FILE.name} <= set(Catalog().names(Path("plugins")))


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.1.2.3:65535", ("127.1.2.3", 65535)),
        ("localhost:80", ("localhost", 80)),
        ("[::1]:0", ("::1", 0)),
        ("off", None),
    ],
)
def test_where_the_control_api_listens(tmp_path: Path, listen: str, address: tuple[str, int] | None) -> None:
    config = load_text(tmp_path, f'{MINIMAL}[control]\nlisten = "{listen}"\n')
    assert config.control.address == address


def test_the_store_is_found_without_plugins_and_other_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "config.toml"
    path.write_text(
        '[orchestrator]\nurl = "http://x"\ntoken = { env = "NOT_THERE" }\n'
        '[plugins.zebra.one]\nkey = { env = "NOT_THERE" }\n[plugins.slack.two]\n'
    )
    offline = load_offline_config(path, {})
    assert offline.instances == ("zebra.one", "slack.two")
    assert offline.store == state_file(path, ".sqlite3")
    path.write_text('[store]\nurl = { env = "DB" }\n')
    for scheme in POSTGRES_SCHEMES:
        url = f"{scheme}://u:pw@db/x"
        assert load_offline_config(path, {"DB": url}).store == url
        assert parse_postgres_url(url).drivername == "postgresql+psycopg"
    path.write_text("plugins = 3\norchestrator = 3\n")
    assert load_offline_config(path, {}).instances == ()
    path.write_text('[orchestrator]\nurl = "simulator"\n')
    assert load_offline_config(path, {}).store is None
