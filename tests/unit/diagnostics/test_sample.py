"""A made-up notification of every type reaches the tested destination, with the texts of its rules."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aintandem_notify.config import Config
from aintandem_notify.diagnostics import Sample, build_sample, choose_sample
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.notification import Severity
from aintandem_notify.errors import ConfigError
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


RULES = """
[orchestrator]
url = "simulator"
[[projects]]
id = "project-7"
[[projects]]
id = "sales-1"
name = "Sales"
[plugins.console.desk]
[plugins.console.own]
events = ["artifact", "sandbox_*"]
mention = ["bob"]
severity = "critical"
[plugins.console.unnamed]
[plugins.watcher.all]
[[rules]]
name = "elsewhere"
events = ["*"]
notify = ["console.own"]
title = "Not for the desk"
[[rules]]
name = "night"
events = ["task_failed", "task_completed"]
projects = ["sales-*"]
when = "run.duration > 999999"
notify = ["console.own", "console.desk"]
title = "{{ project.name }}: {{ run.name }}"
body = "Look at it, {{ event.type }}"
mention = ["here", "{{ event.wire.owner }}"]
severity = "warning"
[[rules]]
name = "plain"
events = ["task_failed", "sandbox_error"]
notify = ["console.desk"]
[[rules]]
name = "sandboxes"
events = ["sandbox_error", "sandbox_stopped"]
notify = ["console.desk"]
title = "A sandbox"
[[rules]]
name = "new ones"
events = ["unknown/*"]
notify = ["console.desk"]
title = "Something new"
"""

WATCHER = """
from aintandem_notify.api import Event, Plugin, hookimpl

class Watcher(Plugin):
    @hookimpl
    def on_event(self, event: Event) -> None: ...
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "watcher.py").write_text(WATCHER, encoding="utf-8")
    (tmp_path / "c.toml").write_text(RULES, encoding="utf-8")
    return load(tmp_path / "c.toml").config


def choose(config: Config, destination: str, event: str | None = None, rule: str | None = None) -> Sample:
    return choose_sample(config, destination, NOW, event_type=event, rule_name=rule)


def test_a_sample_has_all_that_the_rule_sets_whatever_its_condition_says(config: Config) -> None:
    sample = choose(config, "console.desk")
    assert sample.texts == (
        'The event is task_failed, and the texts are those of the rule "night".'
        " Other rules that name console.desk: plain, sandboxes, new ones (choose one with --rule)."
    )
    notification = sample.notification
    assert notification.title == "Test: Sales: Refactor the payment module"
    assert notification.body == "Look at it, task_failed"
    assert notification.mentions == ("here",)
    assert (notification.severity, notification.rule) == (Severity.WARNING, "night")
    assert list(sample.rows()) == [
        ("title", notification.title),
        ("body", notification.body),
        ("severity", "warning"),
        ("mentions", "here"),
    ]


@pytest.mark.parametrize(
    ("destination", "event", "rule", "expected_event", "title", "texts"),
    [
        ("console.desk", "task_completed", None, "task_completed", "Test: Sales: ", 'those of the rule "night".'),
        ("console.desk", "sandbox_error", None, "sandbox_error", "Test: Sandbox ", 'the rule "plain" has none'),
        ("console.desk", None, "plain", "task_failed", "Test: Task ", 'the rule "plain" has none of its own.'),
        ("console.desk", None, "sandboxes", "sandbox_stopped", "Test: A sandbox", 'of the rule "sandboxes".'),
        ("console.desk", None, "new ones", "task_failed", "Test: Something new", 'of the rule "new ones".'),
        ("console.desk", "task_queued", None, "task_queued", "Test: Task ", "sends console.desk this event."),
        ("console.desk", "agent_degraded", None, "agent_degraded", "Test: ", "sends console.desk this event."),
        (
            "console.unnamed",
            None,
            None,
            "task_failed",
            "Test: Task ",
            "no rule of the config names console.unnamed.",
        ),
        ("console.own", None, "console.own", "artifact", "Test: Task ", 'those of the rule "console.own".'),
    ],
)
def test_the_first_rule_for_the_event_or_the_chosen_one_gives_the_texts(
    config: Config,
    destination: str,
    event: str | None,
    rule: str | None,
    expected_event: str,
    title: str,
    texts: str,
) -> None:
    sample = choose(config, destination, event, rule)
    assert sample.notification.event.type == expected_event
    assert sample.notification.title.startswith(title)
    assert texts in sample.texts


def test_keys_of_the_instance_count_like_a_rule(config: Config) -> None:
    notification = choose(config, "console.own", rule="console.own").notification
    assert (notification.mentions, notification.severity) == (("bob",), Severity.CRITICAL)


def test_without_rules_the_default_texts_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[orchestrator]\nurl = "simulator"\n[[projects]]\nid = "*"\n[plugins.console.a]\n')
    sample = choose(load(path).config, "console.a")
    assert sample.texts == (
        "The event is task_failed, and the texts are the default ones, as the config has no rules."
    )
    assert sample.notification.title == 'Test: Task "Refactor the payment module" failed'


@pytest.mark.parametrize(
    ("destination", "event", "rule", "sentence"),
    [
        ("console.dsk", None, None, "no destination is called console.dsk; did you mean console.desk?"),
        ("console.desk", "task_fail", None, "no event type is called task_fail; did you mean task_failed?"),
        ("console.desk", None, "nigth", "no rule is called nigth; did you mean night?"),
        (
            "console.desk",
            None,
            "elsewhere",
            'the rule "elsewhere" does not name console.desk; rules that do: night, plain, sandboxes, new ones',
        ),
        (
            "console.unnamed",
            None,
            "night",
            'the rule "night" does not name console.unnamed; rules that do: none does',
        ),
        ("console.desk", "artifact", "night", 'the rule "night" is not for artifact; leave --event out'),
        (
            "watcher.all",
            None,
            None,
            "no deliver, and only watches the events. Start the agent, and look at it with: aintandem-notify",
        ),
    ],
)
def test_a_wrong_choice_is_a_sentence(
    config: Config, destination: str, event: str | None, rule: str | None, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(config, destination, event, rule)
    assert sentence in str(caught.value)
