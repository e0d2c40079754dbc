"""Held notifications in the agent as its own process: they survive a kill, a reload, and a silence by hand."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from support.commands import run_command
from support.fault_case import Case, open_case


def configure(case: Case, **keys: str) -> None:
    """The webhook is told at once, so that a test knows when the events are stored; the file by a rule."""
    stages = "".join(f"{name} = {value}\n" for name, value in keys.items())
    rule = f'[[rules]]\nname = "held"\nevents = ["task_failed"]\nnotify = ["file_log.later"]\n{stages}'
    destination = f'[plugins.file_log.later]\npath = "{case.folder / "later.jsonl"}"\n'
    case.configure(destination, rule, only=("webhook.ops",))


def state_folder(folder: Path) -> dict[str, str]:
    """Where the agent and the commands keep the address of its control API."""
    return {"XDG_STATE_HOME": str(folder / "state")}


async def silences(case: Case, *arguments: str) -> str:
    """Returns the output of the command."""
    done = await run_command("silences", *arguments, cwd=case.folder, environ=state_folder(case.folder))
    assert done.code == 0, done.err
    return done.out


async def episodes(case: Case, *arguments: str) -> str:
    """Returns the output of the command."""
    done = await run_command("episodes", *arguments, cwd=case.folder, environ=state_folder(case.folder))
    assert done.code == 0, done.err
    return done.out


def lines(case: Case) -> list[dict[str, Any]]:
    path = case.folder / "later.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def written(case: Case, count: int) -> list[dict[str, Any]]:
    # No portable call waits for a file to grow; each round lets the agent run.
    while len(lines(case)) < count:  # noqa: ASYNC110
        await trio.sleep(0.01)
    return lines(case)


async def test_a_group_survives_a_kill_and_is_told_once_after_a_reload_without_it(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        configure(case, group='{ by = ["project"], wait = "1h" }')
        async with case.agent(ends=-signal.SIGKILL):
            await case.connected()
            await case.fail("t1", "t2")
            await case.arrived()
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t3")
            await case.arrived()
            assert lines(case) == []
            configure(case)
            agent.process.send_signal(signal.SIGHUP)
            [digest] = await written(case, 1)
            assert digest["event"]["type"] == "digest"
            assert (digest["event"]["count"], digest["event"]["heldBy"]) == (3, "group")
            await case.fail("t4")
            assert [line["event"]["type"] for line in await written(case, 2)] == ["digest", "task_failed"]


async def test_a_silence_holds_until_it_is_ended_by_hand(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        configure(case)
        async with case.agent(environ=state_folder(tmp_path)):
            await case.connected()
            added = await silences(case, "add", "--destination", "file_log.*", "--for", "1h", "--json")
            silence = json.loads(added)["id"]
            await case.fail("t1", "t2")
            await case.arrived()
            listed = json.loads(await silences(case, "list", "--json"))
            assert [entry["held"] for entry in listed["silences"]] == [2]
            assert lines(case) == []
            assert (
                await silences(case, "end", silence) == f"silence {silence} has ended; it held 2 notifications\n"
            )
            [digest] = await written(case, 1)
            assert (digest["event"]["count"], digest["event"]["heldBy"]) == (2, "silence")


async def test_whoever_was_told_of_trouble_is_told_of_its_end_after_a_kill(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        configure(case)
        async with case.agent(ends=-signal.SIGKILL):
            await case.connected()
            await case.fail("t1")
            await written(case, 1)
            await case.arrived()
        async with case.agent(environ=state_folder(tmp_path)):
            await case.connected()
            listed = json.loads(await episodes(case, "list", "--json"))["episodes"]
            told = {entry["destination"] for episode in listed for entry in episode["told"]}
            assert told == {"file_log.later", "webhook.ops"}
            await case.raw.open_sockets[-1].send_event(
                "task_completed", taskId="t1", task="t1", timestamp=datetime.now(UTC).isoformat()
            )
            _, fixed = await written(case, 2)
            assert fixed["title"].startswith("Fixed after")
            assert json.loads(await episodes(case, "list", "--json"))["episodes"] == []


async def test_an_end_by_hand_is_told_at_once_and_an_acknowledgement_stays(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        configure(case)
        async with case.agent(environ=state_folder(tmp_path)):
            await case.connected()
            await case.fail("t1")
            [failed] = await written(case, 1)
            listed = json.loads(await episodes(case, "list", "--json"))
            [episode] = [entry for entry in listed["episodes"] if entry["rule"] == "held"]
            done = await run_command(
                "acknowledge", episode["id"], "--by", "ana", cwd=tmp_path, environ=state_folder(tmp_path)
            )
            assert done.out.startswith(f"episode {episode['id']} is acknowledged by ana "), done.err
            ended = await episodes(case, "end", episode["id"][:9])
            assert "file_log.later will be told" in ended
            _, word = await written(case, 2)
            assert word["title"].startswith("Ended by hand after ")
            assert word["event"] == failed["event"]
            listed = json.loads(await episodes(case, "list", "--all", "--json"))
            [known] = [entry for entry in listed["episodes"] if entry["id"] == episode["id"]]
            assert (known["ended_by"], known["acknowledged_by"]) == ("hand", "ana")
