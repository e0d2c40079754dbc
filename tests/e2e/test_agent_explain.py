"""``explain`` with the agent as its own process, and without one, from the same store."""

import json
from pathlib import Path
from typing import Any

from support.commands import run_command
from support.fault_case import Case, open_case

RULES = """
[plugins.file_log.night]
path = "night.jsonl"

[[rules]]
name = "slow"
events = ["task_failed"]
when = "run.attempt > 5"
notify = ["webhook.ops"]

[[rules]]
name = "nights"
events = ["task_failed"]
notify = ["file_log.night"]
group = { by = ["project"], wait = "1h" }

[[rules]]
name = "failures"
events = ["task_failed"]
notify = ["webhook.ops"]
"""


async def explain(case: Case, *arguments: str, code: int = 0) -> str:
    """The output of the command, or its error."""
    environ = {"XDG_STATE_HOME": str(case.folder / "state")}
    done = await run_command("explain", "config.toml", *arguments, cwd=case.folder, environ=environ)
    assert done.code == code, done.err
    return done.err if code else done.out


async def test_what_became_of_a_failure_is_explained_with_and_without_an_agent(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure(RULES, only=("webhook.ops",))
        async with case.agent(environ={"XDG_STATE_HOME": str(tmp_path / "state")}):
            await case.connected()
            await case.fail("t1")
            await case.arrived()
            while "delivered" not in (running := await explain(case, "t1")):
                pass  # the receiver has it before the agent has noted so
            of_notification = json.loads(await explain(case, case.webhook.deliveries[0]["data"]["id"], "--json"))
            (tmp_path / "hook.json").write_text(json.dumps(case.webhook.deliveries[0]))
            of_hook = await explain(case, "hook.json")
            made_up = await explain(case, "--event", "task_failed", "--task", "Nightly")
            wrong = await explain(case, "nothing", code=1)
        offline = await explain(case, "t1")
        made_up_offline = await explain(case, "--event", "task_failed", "--task", "Nightly")

    assert "Told webhook.ops at" in running
    assert "Held for file_log.night until" in running
    assert "through the rule nights: group, it waits for others of project-123." in " ".join(running.split())
    assert "The rule slow did not match: its when is false (run.attempt > 5): run.attempt is 1." in running
    assert running.splitlines()[2:] == offline.splitlines()[2:]
    fates: list[dict[str, Any]] = of_notification["events"][0]["fates"]
    assert {(fate["rule"], fate["fate"]) for fate in fates} == {("failures", "delivered"), ("nights", "held")}
    assert "webhook.ops would be told at once through the rule failures." in made_up
    assert "webhook.ops would be told at once through the rule failures." in of_hook
    assert made_up.splitlines()[2:] == made_up_offline.splitlines()[2:]
    assert wrong.startswith("aintandem-notify: the store has no event of nothing; it keeps them")


async def test_a_file_with_an_event_is_explained_by_the_rules_as_written(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure(RULES, only=("webhook.ops",))
        (tmp_path / "event.json").write_text('{"type": "task_failed", "taskId": "t9", "task": "train"}')
        (tmp_path / "logged.json").write_text('{"id": "ntf_1", "event": {"type": "gpu_warmed"}}')
        (tmp_path / "lines.json").write_text('{"type": "task_failed"}\n{"type": "task_failed"}\n')
        (tmp_path / "empty.json").write_text("[]")
        told = await explain(case, "event.json")
        assert "webhook.ops would be told at once through the rule failures." in told
        assert "This version does not know the type gpu_warmed" in await explain(case, "logged.json")
        several = await explain(case, "lines.json", code=2)
        assert "lines.json has several lines; keep that of one event" in several
        assert "empty.json has no event" in await explain(case, "empty.json", code=2)
        assert "did you mean task_failed?" in await explain(case, "--event", "task_faild", code=1)
