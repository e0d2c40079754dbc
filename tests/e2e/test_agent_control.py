"""Commands that control the agent; all are separate processes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.agent_process import AgentProcess, ended_well, open_agent
from support.commands import Finished, run_command
from support.configs import CANARY, write_config
from support.raw_orchestrator import RawOrchestrator, open_raw_orchestrator
from support.receivers import WEBHOOK_SECRET, WebhookReceiver, open_webhook_receiver

FAILURES = 'events = ["task_failed"]\n'


def webhook(receiver: WebhookReceiver) -> str:
    return f'[plugins.webhook.ops]\nurl = "{receiver.url}"\nsecret = {{ env = "HOOK" }}\n{FAILURES}'


def environ(folder: Path) -> dict[str, str]:
    """The environment with the secrets, which the agent gets and the commands do not."""
    return {"XDG_STATE_HOME": str(folder / "state"), "HOOK": WEBHOOK_SECRET}


async def command(folder: Path, *arguments: str) -> Finished:
    return await run_command(*arguments, cwd=folder, environ={"XDG_STATE_HOME": str(folder / "state")})


async def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await command(folder, "status", "--json")).out)
    return found


async def listed(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    page: dict[str, Any] = json.loads((await command(folder, "deliveries", "list", "--json", *arguments)).out)
    found: list[dict[str, Any]] = page["deliveries"]
    return found


async def fail(raw: RawOrchestrator, *tasks: str) -> None:
    for task in tasks:
        await raw.sockets[-1].send_event("task_failed", taskId=task, error="boom")


async def started(agent: AgentProcess, raw: RawOrchestrator) -> None:
    await raw.connections.receive()
    await agent.wait_for_log('"connected"')


async def test_status_tells_of_a_running_agent_a_killed_one_and_none(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_webhook_receiver() as receiver:
        write_config(tmp_path, raw.url, webhook(receiver))
        none = await command(tmp_path, "status")
        assert none.code == 1
        assert none.out.startswith(
            "no agent runs with this config, and none has stored anything yet: a new store is created at "
        )
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            running = await command(tmp_path, "status")
            assert running.code == 0
            assert re.match(r"aintandem-notify \S+, running, started .+\n", running.out)
            assert re.search(r"^project-123 +connected ", running.out, re.MULTILINE)
            assert re.search(r"^webhook\.ops +loaded ", running.out, re.MULTILINE)
            assert re.search(r"^webhook\.ops +open +0 +- +-$", running.out, re.MULTILINE)
            for flag in ("--alive", "--ready"):
                well = await command(tmp_path, "status", flag)
                assert (well.code, well.out) == (0, "well\n")
            agent.kill()
            await agent.wait()
        assert len(list((tmp_path / "state" / "aintandem-notify").glob("*.control.json"))) == 1
        killed = await command(tmp_path, "status")
        assert killed.code == 1
        assert killed.out.startswith("no agent runs with this config\n")
        for flag in ("--alive", "--ready"):
            assert (await command(tmp_path, "status", flag)).code == 1
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            assert (await status(tmp_path))["agent"]["pid"] == agent.process.pid
            await ended_well(agent)
    assert list((tmp_path / "state" / "aintandem-notify").glob("*.control.json")) == []
    assert (await command(tmp_path, "status")).code == 1
    assert CANARY not in running.out + killed.out + none.out


async def test_a_dead_delivery_is_looked_at_and_sent_after_all(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_webhook_receiver() as receiver:
        write_config(tmp_path, raw.url, webhook(receiver))
        receiver.fail_with(422, times=9)
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            await fail(raw, "t1")
            # By its task: the agent's own notice of the dead delivery may be in the list, too.
            while not (dead := await listed(tmp_path, "--state", "dead", "--task", "t1")):
                pass
            (entry,) = dead
            result = await command(tmp_path, "deliveries", "show", "config.toml", entry["notification"][:12])
            assert result.code == 0
            assert re.search(r"^state +dead$", result.out, re.MULTILINE)
            assert re.search(r"^reason +\S", result.out, re.MULTILINE)
            assert re.search(r"^failed tries +2; the last was as plain text$", result.out, re.MULTILINE)
            assert "boom" in result.out
            receiver.replies.clear()
            done = await command(tmp_path, "deliveries", "retry", str(entry["id"]))
            assert (done.code, done.out) == (0, f"1 delivery queued again: {entry['id']}\n")
            while not await listed(tmp_path, "--state", "delivered", "--task", "t1"):
                pass
            twice = await command(tmp_path, "deliveries", "retry", "config.toml", str(entry["id"]))
            assert (twice.code, twice.out) == (1, "0 deliveries queued again\n")
            assert twice.err == f"{entry['id']} was left alone: it was delivered\n"
            await ended_well(agent)
    assert receiver.ids[entry["notification"]] == 1


async def test_a_pause_holds_over_a_restart_and_what_waited_goes_out_on_resume(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_webhook_receiver() as receiver:
        write_config(tmp_path, raw.url, webhook(receiver))
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            paused = await command(tmp_path, "destinations", "pause", "webhook.ops")
            assert (paused.code, paused.out) == (0, "webhook.ops is paused\n")
            await fail(raw, "t1", "t2", "t3")
            while (await status(tmp_path))["destinations"][0]["queued"] < 3:
                pass
            plugin = await command(tmp_path, "plugins", "show", "webhook.ops")
            assert (plugin.code, plugin.out.splitlines()[1].split()) == (0, ["state", "loaded"])
            result = await command(tmp_path, "deliveries", "show", "1")
            assert re.search(r"^waits for +webhook\.ops, which is paused$", result.out, re.MULTILINE)
            dropped = await command(tmp_path, "deliveries", "drop", "config.toml", "2")
            assert (dropped.code, dropped.out) == (0, "1 delivery dropped: 2\n")
            await ended_well(agent)
        at_rest = await status(tmp_path)
        assert at_rest["agent"] is None
        assert [(entry["name"], entry["state"], entry["queued"]) for entry in at_rest["destinations"]] == [
            ("webhook.ops", "paused", 2)
        ]
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            (destination,) = (await status(tmp_path))["destinations"]
            assert (destination["state"], destination["queued"]) == ("paused", 2)
            assert receiver.requests == []
            resumed = await command(tmp_path, "destinations", "resume", "config.toml", "webhook.ops")
            assert (resumed.code, resumed.out) == (0, "webhook.ops is resumed\n")
            await receiver.wait_for(2)
            await ended_well(agent)
    assert sorted(entry["data"]["event"]["taskId"] for entry in receiver.deliveries) == ["t1", "t3"]


async def test_an_agent_that_cannot_be_reached_is_not_gone_behind(tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw, open_webhook_receiver() as receiver:
        write_config(tmp_path, raw.url, webhook(receiver), '[control]\nlisten = "off"\n')
        async with open_agent("run", "config.toml", cwd=tmp_path, environ=environ(tmp_path)) as agent:
            await started(agent, raw)
            for arguments in (("status",), ("deliveries", "list"), ("destinations", "pause", "webhook.ops")):
                done = await command(tmp_path, *arguments)
                assert (done.code, done.out) == (1, "")
                assert done.err.startswith("aintandem-notify: an agent runs on this store but cannot be reached")
            await ended_well(agent)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("deliveries", "show"), "Missing argument 'ID'"),
        (("deliveries", "show", "1", "2"), "One ID at a time"),
        (("deliveries", "retry"), "Name IDs, or else --destination"),
        (("deliveries", "retry", "1", "--all"), "Name IDs, or else --destination"),
        (("deliveries", "drop", "--all"), "Drop all queued deliveries? Nobody can be asked here; say --yes."),
        (("deliveries", "list", "--since", "yesterday"), "'yesterday' is no time"),
        (("deliveries", "list", "--state", "lost"), "'lost' is not one of"),
        (("deliveries", "list", "--destination", ""), "it is empty; leave the option out to mean all"),
        (("deliveries", "drop", "--destination", "", "--state", "queued"), "it is empty"),
        (("deliveries", "drop", "--state", "dead"), "'dead' is not 'queued'"),
        (("deliveries", "retry", "--state", "delivered"), "'delivered' is not one of 'dead', 'folded'"),
        (("deliveries", "retry", "--state", "folded"), "Retry all folded deliveries? Nobody can be asked here"),
        (("deliveries", "retry", "1", "--state", "dead"), "Name IDs, or else --destination"),
        (("destinations", "pause", "a.toml"), "Missing argument 'NAME'"),
        (("deliveries", "list", "--limit", "0"), "0 is not in the range"),
        (("destinations", "pause"), "Missing argument 'NAME'"),
        (("status", "missing.toml"), "cannot be read"),
        (("status", "--json", "missing.toml"), "cannot be read"),
        (("destinations", "pause", "--json", "missing.toml", "webhook.ops"), "cannot be read"),
    ],
)
async def test_wrong_usage_is_a_sentence_and_exit_code_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = await command(tmp_path, *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
