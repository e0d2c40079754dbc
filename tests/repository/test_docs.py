"""The pages agree with the code: links have targets, keys and figures are those of the code."""

import re
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from aintandem_notify.config import PluginConfig, json_schema
from aintandem_notify.config.plugin_config import MAX_PARALLEL
from aintandem_notify.config.types.outbound import Outbound
from aintandem_notify.control.server.access import ControlTimes
from aintandem_notify.delivery import rendering
from aintandem_notify.domain import events, runs
from aintandem_notify.domain.truncation import HEAD_CHARACTERS, TAIL_CHARACTERS
from aintandem_notify.foundation import open_files, signals
from aintandem_notify.foundation.http_server import connections
from aintandem_notify.foundation.stdio import line_buffer
from aintandem_notify.http_client import client
from aintandem_notify.http_client.addresses import forbidden_kind
from aintandem_notify.http_client.client import IDLE_EXPIRY_S
from aintandem_notify.ingest import writer
from aintandem_notify.live_view import model
from aintandem_notify.log import entries
from aintandem_notify.orchestrator.catch_up import event_buffer, rest_snapshot
from aintandem_notify.orchestrator.link import frame_memory, websocket
from aintandem_notify.orchestrator.watch import composition
from aintandem_notify.plugins import Catalog
from aintandem_notify.plugins.border import instance_border
from aintandem_notify.plugins.runtime import live_hooks
from aintandem_notify.rules import episode_words
from aintandem_notify.rules.templates import cost_budget
from aintandem_notify.rules.templates.templating import MAX_TEXT_CHARACTERS
from aintandem_notify.store.tables import notification_cache
from aintandem_notify_console import Console
from aintandem_notify_file_log import FileLog
from aintandem_notify_slack import Slack
from aintandem_notify_webhook import Webhook

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "tests/**/README.md")
    for path in ROOT.glob(pattern)
    if "node_modules" not in path.parts
)
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/README.md"))


@cache
def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_have_targets(page: str) -> None:
    broken = []
    for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", prose(ROOT / page)):
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_test_of_faults_is_in_their_table() -> None:
    page = prose(ROOT / "tests" / "faults" / "README.md")
    assert [path.stem for path in ROOT.glob("tests/faults/test_*.py") if f"`{path.stem}`" not in page] == []


def keys_of(plugin: str) -> dict[str, Any]:
    """The keys of a plugin's table, as the JSON Schema has them."""
    schema = json_schema([Catalog().find(plugin, ROOT / "plugins")])
    table: dict[str, Any] = schema["properties"]["plugins"]["properties"][plugin]["additionalProperties"]
    return table


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_page_of_a_plugin_has_its_keys_with_their_defaults(plugin: str) -> None:
    table, page = keys_of(plugin), prose(ROOT / "plugins" / plugin / "README.md")
    keys_section = page.partition("\n## Keys\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \| ", keys_section, re.MULTILINE)
    assert {key for key in table["properties"] if key not in PluginConfig.model_fields} <= {key for key, _ in rows}
    for key, default in rows:
        assert (key in table.get("required", ())) is (default == "required"), key
        schema_default = table["properties"][key].get("default")
        if schema_default not in (None, [], {}):
            written = str(schema_default).lower() if isinstance(schema_default, bool) else str(schema_default)
            assert default.strip("`").strip('"') == written, key


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_page_of_a_plugin_names_all_common_keys_if_it_names_some(plugin: str) -> None:
    page = prose(ROOT / "plugins" / plugin / "README.md")
    if named := re.search(r"keys of every plugin \((.*?)\)", page, re.DOTALL):
        own = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
        assert set(re.findall(r"`(\w+)`", named[1])) | own >= set(PluginConfig.model_fields)


def test_every_address_of_the_page_is_refused() -> None:
    page = prose(ROOT / "docs" / "configuration.md")
    section = page.partition("\n### Addresses\n")[2].partition("\nPrivate networks")[0]
    networks = [ip_network(address) for address in re.findall(r"`([0-9a-f:.]+(?:/\d+)?)`", section)]
    assert len(networks) == 10
    ends = [str(address) for network in networks for address in (network[0], network[-1])]
    assert [address for address in ends if forbidden_kind(address, Outbound()) is None] == []


def mib(size: int) -> str:
    """Bytes, or characters, in units of 2**20."""
    assert size % 2**20 == 0
    return str(size // 2**20)


WORDS = {0.2: "a fifth of a second", 0.25: "a quarter of a second", 1.5: "a second and a half"}
FIGURES = {
    "docs/reliability.md": [
        f"up to {FileLog.in_flight} lines for a file and {Console.in_flight} for a console",
        f"up to {Webhook.parallel} for a webhook",
        f"an event with more than {composition.MAX_EVENT_CHARACTERS:,} characters",
        (
            f"keeps the first {HEAD_CHARACTERS:,} and the last {TAIL_CHARACTERS:,} characters, "
            "if that leaves out 2,000"
        ),
        f"more than {events.MAX_VALUES:,} values, or more than {mib(websocket.MAX_MESSAGE_SIZE)} MiB",
        f"a project's {rest_snapshot.MAX_TASKS:,} newest tasks",
        f"the {writer.MAX_OPEN_RUNS} runs without an end that changed last",
        f"{mib(frame_memory.LARGE_MESSAGES_BYTES)} MiB: room for one of {mib(websocket.MAX_MESSAGE_SIZE)} MiB",
        (
            f"{event_buffer.MAX_BUFFERED:,} events and "
            f"{mib(event_buffer.MAX_BUFFERED_CHARACTERS)} Mi characters a project"
        ),
        f"the {writer.MAX_CACHED_RUNS:,} that changed last, each with {runs.OUTPUT_TAIL_CHARACTERS:,} characters",
        (
            f"{notification_cache.MAX_NOTIFICATIONS:,} and {mib(notification_cache.MAX_CHARACTERS)} Mi characters"
            " a destination"
        ),
        f"{model.MAX_TRACKED:,} under way",
    ],
    "docs/operations.md": [
        f"the {model.MAX_TRACKED:,} runs under way that changed last",
        f"room for {open_files.MAX_CONTROL_CONNECTIONS} connections at a time",
        f"a body that takes more than {ControlTimes().body_s:g} s",
        f"{mib(line_buffer.MAX_WAITING_BYTES)} MiB of lines",
        f"fewer than {open_files.MIN_FILES}",
        str(open_files.describe_shortage(80, 64)).partition(":")[0],
        f"{WORDS[connections.GRACE_S]} to itself",
        f"within {WORDS[signals.DUPLICATE_SIGNAL_S]}",
        f"the first {entries.MAX_LOGGED_TEXT:,} characters",
    ],
    "docs/configuration.md": [
        f"1 to {MAX_PARALLEL}",
        f"{Webhook.parallel} at `webhook`, and {Slack.parallel} elsewhere",
        f"Titles are cut at {episode_words.MAX_TITLE_CHARACTERS} characters, bodies at {MAX_TEXT_CHARACTERS:,}",
        f"an event with more than {composition.MAX_EVENT_CHARACTERS:,} characters",
        f"about {cost_budget.RENDER_BUDGET // cost_budget.STEP_COST // 10_000 * 10_000:,} steps",
        f"{cost_budget.RENDER_BUDGET // 1_000_000} million characters",
    ],
    "docs/writing-plugins.md": [
        f"up to {live_hooks.MAX_QUEUE_SLOTS} wait",
        f"{instance_border.MAX_RECEIPT_BYTES // 1024} KiB at the most",
        f"if it is JSON of at most {instance_border.MAX_RECEIPT_BYTES // 1024} KiB",
        f"if they are JSON of at most {instance_border.MAX_DIAGNOSTICS_BYTES // 1024} KiB",
        f"`body` ({client.MAX_BODY // 1024} KiB at the most)",
        f"a title of {rendering.MAX_PLAIN_TITLE} characters, a body of {rendering.MAX_PLAIN_BODY:,}",
    ],
    "plugins/console/README.md": [f"up to {Console.in_flight} notifications"],
    "plugins/file_log/README.md": [f"up to {FileLog.in_flight} lines"],
    "plugins/webhook/README.md": [f"kept for {WORDS[IDLE_EXPIRY_S]}"],
}
"""Phrases of each page that contain a figure of the code."""


@pytest.mark.parametrize(
    ("page", "phrase"), [(page, phrase) for page, phrases in FIGURES.items() for phrase in phrases]
)
def test_a_figure_is_the_code_s(page: str, phrase: str) -> None:
    text = re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8"))
    assert phrase.casefold() in text.casefold()


QUOTES = {
    "docs/glossary.md": ["old history was removed", "joined the agents that share the store"],
    "docs/operations.md": ["the store is in trouble", "dropped by hand", "of no agent"],
    "docs/configuration.md": ["Instead of", "(caught up)", "[redacted]"],
    "docs/writing-plugins.md": ["await it in the hook"],
}
"""Words of logs, commands and notifications that a page quotes."""


@cache
def sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "core").rglob("*.py")))


@pytest.mark.parametrize(("page", "quote"), [(page, quote) for page, quotes in QUOTES.items() for quote in quotes])
def test_a_quote_is_the_code_s(page: str, quote: str) -> None:
    assert quote in re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8"))
    assert quote in sources()
