"""Every odd plugin of ``support.nasty`` in one agent, next to a healthy webhook and a file.

They are loaded at the start or by a reload. None ends the agent or delays the healthy destinations; ``status``
gives the reason, and the agent ends in order.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from support.commands import run_command
from support.fault_case import Case, open_case
from support.nasty import plugins as nasty

CANARIES = ("plugincanary0123", "diagcanary01", "defaultcanary0123", "receiptcanary01")
"""Secrets in texts of plugins, which no output may contain."""


@asynccontextmanager
async def open_odd_case(folder: Path) -> AsyncIterator[Case]:
    """A case with high limits of descriptors and memory for its plugins; other tests limit the agent itself."""
    async with open_case(folder) as case:
        case.max_descriptors, case.max_memory_kb = 400, 600 * 1024
        yield case


def put(case: Case, sources: Mapping[str, str]) -> dict[str, str]:
    """Write each as a plugin file; returns the instance names by the plugins' descriptions."""
    folder = case.folder / "plugins"
    folder.mkdir(exist_ok=True)
    names = {}
    for number, (description, source) in enumerate(sources.items()):
        kind = f"odd{number:03}"
        (folder / f"{kind}.py").write_text(source)
        names[description] = f"{kind}.x"
    return names


def tables(names: Mapping[str, str]) -> list[str]:
    """The config: a table for each instance, with a short deadline, and a short ``drain_timeout``."""
    instances = [f'[plugins.{name}]\nevents = ["task_failed"]\ntimeout = "2s"\n' for name in names.values()]
    return [*instances, '[delivery]\ndrain_timeout = "5s"\n']


async def run_json(case: Case, *command: str | Path) -> dict[str, object]:
    """The JSON output of a command."""
    done = await run_command(
        *command, "--json", cwd=case.folder, environ={"XDG_STATE_HOME": str(case.folder / "state")}
    )
    assert not any(canary in done.out for canary in CANARIES)
    output: dict[str, object] = json.loads(done.out)
    return output


def beginning(*words: str) -> dict[str, str]:
    """The plugins whose descriptions begin with one of the words."""
    return {
        description: source for description, source in nasty.DELIVERING.items() if description.startswith(words)
    }


async def test_no_plugin_that_raises_harms_another(tmp_path: Path) -> None:
    async with open_odd_case(tmp_path) as case:
        names = put(case, beginning("raises"))
        case.configure(*tables(names))
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1")
            await case.arrived()
            for name in names.values():
                # The first line says that it was loaded.
                await agent.wait_for_log(f'"{name}"', times=2)
            await case.fail("t2")
            await case.arrived()
            status = json.dumps(await run_json(case, "status", case.config))
            assert "after should be a number of seconds, not a str" in status
        assert not any(canary in agent.everything for canary in CANARIES)


async def test_no_misbehaving_plugin_harms_another(tmp_path: Path) -> None:
    async with open_odd_case(tmp_path) as case:
        names = put(case, beginning("acts"))
        case.configure(*tables(names))
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1", "t2")
            await case.arrived()
            for description, words in (
                ("acts in async: time.sleep", "blocks the whole agent"),
                ("acts in async: leaves a nursery open", "left a nursery open"),
                ("acts in async: leaves a cancel scope open", "a cancel scope was left open"),
                ("acts in async: leaves a task behind that exits", "background task: plugins/"),
            ):
                assert words in await agent.wait_for_log(f'"{names[description]}"', times=2)
            assert "uncaught exception" in await agent.wait_for_log("ZeroDivisionError")
            await case.fail("t3")
            await case.arrived()
            await run_json(case, "status", case.config)


async def test_no_plugin_that_answers_with_junk_or_lives_wrongly_harms_another(tmp_path: Path) -> None:
    async with open_odd_case(tmp_path) as case:
        names = put(case, {**beginning("returns"), **nasty.LIVING})
        case.configure(*tables(names))
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1", "t2")
            await case.arrived()
            status = json.dumps(await run_json(case, "status", case.config))
            for description in ("lifespan raises before", "lifespan does not yield", "lifespan exits before"):
                assert f"plugins/{names[description].removesuffix('.x')}.py" in status
            for description in ("diagnostics returns junk", "diagnostics returns 10 MB", "diagnostics exits"):
                detail = await run_json(case, "plugins", "show", case.config, names[description])
                assert f"plugins/{names[description].removesuffix('.x')}.py:" in str(detail["silence"])
            await run_json(case, "plugins", "show", case.config, names["diagnostics tells a secret"])
        assert not any(canary in agent.everything for canary in CANARIES)


async def test_a_reload_refuses_wrong_plugins_with_a_line_for_each_and_takes_the_others(tmp_path: Path) -> None:
    sources = {**nasty.LOADING, **nasty.DEFAULTS}
    async with open_odd_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            await case.connected()
            names = put(case, sources)
            case.configure(*tables(names))
            agent.reload()
            for description in ("a syntax error", "is interrupted", "rate: a wrong text", "in_flight: zero"):
                kind = names[description].removesuffix(".x")
                assert "reload refused" in await agent.wait_for_log(f"plugins/{kind}.py")
            await case.fail("t1")
            await case.arrived()
            refused = {name for name in names.values() if f"plugins.{name}" in agent.everything}
            right = {description: name for description, name in names.items() if name not in refused}
            assert {"prints", "rate: a text", "max_age: a text", "token: a text"} <= right.keys()
            case.configure(*tables(right))
            agent.reload()
            await agent.wait_for_log('"reloaded"')
            for name in right.values():
                await agent.wait_for_log(f'"{name}"')
            await case.fail("t2")
            await case.arrived()
            await run_json(case, "status", case.config)
            # The last reload never ends; the agent continues and ends in order.
            blocked = put(case, {"blocks": nasty.BLOCKING})
            case.configure(*tables(blocked))
            agent.reload()
            await agent.wait_for_log("a plugin may block while it is imported")
            await case.fail("t3")
            await case.arrived()
        assert not any(canary in agent.everything for canary in CANARIES)
