"""Invalid frames of an orchestrator: they are counted, logged once for each kind, and affect nothing else."""

import resource
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from support.fault_case import PROJECT, Case, open_case, virtual_bytes
from support.fault_counts import Counts, Record
from support.raw_orchestrator import event_text, frame
from support.receivers import open_slack_receiver

GARBAGE = [
    "{",
    "null",
    "[1, 2]",
    '"text"',
    '{"type": 7}',
    '{"type": "task_failed"}',
    '{"type": "task_failed", "taskId": ["x"], "projectId": "project-123"}',
    '{"type": "task_failed", "taskId": "x", "projectId": "somebody-elses"}',
    '{"type": "task_failed", "taskId": "x", "error": NaN}',
    '{"type": "agent_stopped"}',
    '{"type": "output", "taskId": "x", "output": ' + "[" * 5000 + "]" * 5000 + "}",
    '{"type": "output", "taskId": "x", "output": ' + "9" * 5000 + "}",
    '{"type": "teleported", "timestamp": "2026-01-05T09:30:00Z", "taskId": "x", "where": {"to": "elsewhere"}}',
]
TOLD = ("malformed", "not an object", "no type", "another project's id", "nested too deep")


async def test_garbage_is_logged_once_a_kind_and_the_connection_stays(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            socket = await case.connected()
            for text in GARBAGE * 3:
                await socket.send_text(text)
            await socket.send_binary(b"\x00\xff")
            await case.fail("t1")
            await case.arrived()
            assert not socket.closed.is_set()
        assert case.webhook_runs() == case.logged_runs() == ["t1"]
        for kind in TOLD:
            assert sum(kind in line for line in agent.stderr) == 1, kind


async def test_a_frame_that_is_no_utf8_costs_only_its_connection(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            socket = await case.connected()
            await socket.send_text(b'{"type": "task_failed", "taskId": "\xff\xfe"}')
            await socket.closed.wait()
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        assert socket.close_code == 1007
        assert sum("no UTF-8" in line for line in agent.stderr) == 1


async def test_half_a_character_reaches_every_destination_as_a_sign_that_can_be_encoded(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, open_slack_receiver() as slack:
        case.configure(
            f'[plugins.slack.team]\nwebhook_url = "{slack.url}"\nevents = ["task_failed"]\nrate = "100/s"\n'
        )
        case.destinations["slack.team"] = lambda: slack.ids
        async with case.agent():
            socket = await case.connected()
            case.miss("t1")
            # In JSON: two escapes of six characters, of which only one has a partner.
            await socket.send_event("task_failed", taskId="t1", error="cut: \ud83d, whole: \U0001f600 & <b>")
            await case.arrived()
            await slack.wait_for(1)
        assert "cut: \ufffd, whole: \U0001f600" in case.lines()[0]["body"]
        assert "\ufffd" in case.webhook.deliveries[0]["data"]["body"]
        assert not slack.refused


async def _outlives(case: Case, *pieces: bytes, closes: bool) -> None:
    """The agent gets the bytes. Later failures are reported, even if the connection was closed."""
    async with case.agent():
        socket = await case.connected()
        try:
            for piece in pieces:
                await socket.send_bytes_raw(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            assert closes
        if closes:
            await socket.closed.wait()
            await case.connected()
        await case.fail("last")
        await case.arrived()
        assert socket.closed.is_set() is closes


async def test_much_output_in_one_frame_is_taken(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        output = event_text("output", PROJECT, taskId="t1", output="0123456789abcde\n" * (10 * 2**16))
        await _outlives(case, frame(output), closes=False)


async def test_a_message_that_does_not_end_costs_only_its_connection(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        first = frame('{"type": "output", "output": "', final=False)
        more = frame("x" * 2**20, opcode=0, final=False)
        await _outlives(case, first, *[more] * 40, closes=True)


async def test_a_flood_of_output_drops_nothing_that_matters(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    runs = [f"t{number}" for number in range(10)]
    async with open_case(tmp_path, record) as case:
        case.configure()
        outputs = [
            event_text("output", PROJECT, taskId=run, output=f"{n} of {run}\n") for n in range(100) for run in runs
        ]
        burst = b"".join(map(frame, outputs)) * (counts.flood // len(outputs))
        async with case.agent(seconds=counts.seconds):
            socket = await case.connected()
            began = trio.current_time()
            for number, run in enumerate(runs):
                await trio.sleep_until(began + number * counts.flood_every_s)
                (end,) = case.miss(run)
                # No faster than the agent reads: the rest waits in the network.
                await socket.send_bytes_raw(burst + frame(end))
            await case.arrived()
            took = trio.current_time() - began
            record("count", f"{10 * counts.flood:,} events in {took:.1f} s")
            assert not socket.closed.is_set()
        assert sorted(case.logged_runs()) == runs


@pytest.mark.parametrize("closes", [False, True], ids=["too many values", "too long"])
async def test_an_end_in_a_frame_that_is_no_event_is_found_out_after_the_gap(tmp_path: Path, closes: bool) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            socket = await case.connected()
            await case.fail("t0")
            await case.arrived()
            (end,) = case.miss("t1")
            filling = '"' + "x" * 17 * 2**20 + '"' if closes else "[" + "[]," * 260_000 + "0]"
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await socket.send_text(end.removesuffix("}") + f', "more": {filling}}}')
            if not closes:
                await agent.wait_for_log("too many values")
                await socket.reset()
            await case.connected()
            await case.arrived()
        assert sorted(case.webhook_runs()) == ["t0", "t1"]
        assert case.caught_up() == {"t1"}
        assert sum("a frame was no event" in line for line in agent.stderr) == 1


async def test_frames_of_millions_of_values_are_counted_also_where_memory_is_scarce(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent() as agent:
            socket = await case.connected()
            await case.fail("t0")
            await case.arrived()
            size = virtual_bytes(agent.process.pid) + 256 * 2**20
            resource.prlimit(agent.process.pid, resource.RLIMIT_AS, (size, size))
            for filling in ("[],", "{},", "0,", '{"a":{}},'):
                values = filling * (15 * 2**20 // len(filling))
                await socket.send_text(f'{{"type": "task_failed", "taskId": "x", "output": [{values}0]}}')
            await case.fail("t1")
            await case.arrived()
            assert not socket.closed.is_set()
        assert sorted(case.webhook_runs()) == ["t0", "t1"]
        assert sum("too many values" in line for line in agent.stderr) == 1
