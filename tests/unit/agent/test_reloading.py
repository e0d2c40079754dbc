"""The queue of reloads, the changes in a result, and how long a refused reload is remembered."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from aintandem_notify.agent import reloading
from aintandem_notify.agent.reloading import ReloadQueue, open_reloads, read_again
from aintandem_notify.agent.settings import reload_result
from aintandem_notify.agent.systemd import Systemd
from aintandem_notify.domain.reload import RefusedReload, ReloadAbandonedError, ReloadResult
from aintandem_notify.errors import ConfigError, Problem
from aintandem_notify.plugins.config_loading import load
from support.datagrams import bound_socket

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAKEN = ReloadResult(at=NOW, config="config.toml")
CONFIG = """
[orchestrator]
url = "http://127.0.0.1:9"
token = "t"

[[projects]]
id = "p1"

[plugins.console.here]

[plugins.file_log.audit]
path = "audit.jsonl"
"""


class Reloads:
    """A queue whose reloads take a second each, and the times at which they began."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.queue = ReloadQueue(self._reload)

    async def _reload(self) -> ReloadResult:
        self.begun.append(trio.current_time())
        await trio.sleep(1)
        return ReloadResult(at=NOW, config=str(len(self.begun)))


async def test_one_reload_at_a_time_and_each_request_gets_its_own(autojump_clock: trio.testing.MockClock) -> None:
    reloads, answers = Reloads(), dict[int, str]()
    start = trio.current_time()

    async def request(number: int) -> None:
        answers[number] = (await reloads.queue.request()).config

    async with open_reloads(reloads.queue, Systemd()), trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(request, number)
    assert [moment - start for moment in reloads.begun] == [0, 1, 2]
    assert sorted(answers.values()) == ["1", "2", "3"]


async def test_a_request_that_comes_before_the_start_waits_for_it(autojump_clock: trio.testing.MockClock) -> None:
    reloads = Reloads()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reloads.queue.request)
        await trio.sleep(60)
        assert reloads.begun == []
        async with open_reloads(reloads.queue, Systemd()):
            await reloads.queue.request()
    assert len(reloads.begun) == 2


async def test_a_reload_goes_on_when_nobody_waits_for_it_any_more(autojump_clock: trio.testing.MockClock) -> None:
    finished = trio.Event()

    async def reload() -> ReloadResult:
        await trio.sleep(10)
        finished.set()
        return TAKEN

    queue = ReloadQueue(reload)
    async with open_reloads(queue, Systemd()):
        with trio.move_on_after(1):
            await queue.request()
        await finished.wait()


async def test_the_end_of_the_agent_abandons_all_of_them(autojump_clock: trio.testing.MockClock) -> None:
    reloads, abandoned = Reloads(), list[int]()

    async def request(number: int) -> None:
        with pytest.raises(ReloadAbandonedError):
            await reloads.queue.request()
        abandoned.append(number)

    async with trio.open_nursery() as nursery:
        async with open_reloads(reloads.queue, Systemd()):
            nursery.start_soon(request, 1)
            nursery.start_soon(request, 2)
            await trio.sleep(0.5)
        nursery.start_soon(request, 3)
    assert sorted(abandoned) == [1, 2, 3]
    assert len(reloads.begun) == 1


async def test_systemd_hears_of_each_reload(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    with closing(bound_socket(str(tmp_path / "notify"))) as bound:
        reloads = Reloads()
        async with open_reloads(reloads.queue, Systemd(str(tmp_path / "notify"))):
            await reloads.queue.request()
        assert bound.recv(4096).startswith(b"RELOADING=1\n")
        assert bound.recv(4096) == b"READY=1"


async def test_a_config_that_cannot_be_read_in_time_is_refused_and_the_next_one_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, blocked = tmp_path / "config.toml", threading.Event()
    source.write_text(CONFIG)
    loaded = load(source)
    monkeypatch.setattr(reloading, "load", lambda _source: blocked.wait())
    refused = await read_again(loaded.config, limit_s=0.05)
    assert isinstance(refused, ConfigError)
    assert "a plugin may block while it is imported" in str(refused)
    blocked.set()
    monkeypatch.undo()
    assert not isinstance(await read_again(loaded.config), ConfigError)


def test_a_refused_reload_counts_from_the_first_until_one_is_taken() -> None:
    later = NOW + timedelta(hours=1)
    wrong = ReloadResult(at=NOW, config="c.toml", problems=(Problem("wrong", "log", 3), Problem("too")))
    restart = ReloadResult(at=later, config="c", restart_needed=("[store]", "[control]"))
    first = RefusedReload.after(wrong, None)
    assert first == RefusedReload("c.toml:3: log: wrong (and 1 more)", NOW)
    assert RefusedReload.after(restart, first) == RefusedReload("a restart is needed for [store], [control]", NOW)
    assert RefusedReload.after(TAKEN, first) is None
    assert not wrong.is_taken
    assert not restart.is_taken
    assert TAKEN.is_taken


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("", ""), {}),
        (('"p1"', '"p*"'), {"projects_added": ("p*",), "projects_removed": ("p1",), "changed": ("[[projects]]",)}),
        (('id = "p1"', 'id = "p1"\nname = "P"'), {"changed": ("[[projects]]",)}),
        (("[plugins.console.here]", ""), {"stopped": ("console.here",)}),
        (("console.here", "console.there"), {"started": ("console.there",), "stopped": ("console.here",)}),
        (("audit.jsonl", "other.jsonl"), {"restarted": ("file_log.audit",)}),
        # max_age is a setting of every destination, and part of each.
        (
            ("[[projects]]", '[delivery]\nmax_age = "1h"\n[[projects]]'),
            {"restarted": ("console.here", "file_log.audit"), "changed": ("[delivery]",)},
        ),
        (("[[projects]]", '[log]\nlevel = "debug"\n[[projects]]'), {"changed": ("[log]",)}),
        (
            (
                "[plugins.console.here]",
                '[plugins.console.here]\n[[rules]]\nname = "r"\nevents = ["*"]\nnotify = ["console.here"]',
            ),
            {"changed": ("[[rules]]",)},
        ),
    ],
)
def test_a_result_names_all_changes(edit: tuple[str, str], expected: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "config.toml"
    source.write_text(CONFIG)
    before = load(source)
    source.write_text(CONFIG.replace(*edit))
    result = reload_result(before, load(source), (), NOW)
    assert result == ReloadResult(at=NOW, config=str(source), **expected)


def test_an_instance_that_failed_is_tried_again_without_a_change(tmp_path: Path) -> None:
    source = tmp_path / "config.toml"
    source.write_text(CONFIG)
    assert reload_result(load(source), load(source), {"console.here"}, NOW).restarted == ("console.here",)
