"""Other programs rename or remove the file of file_log, or put a folder in its place."""

from collections import Counter
from pathlib import Path

from support.fault_case import Case, open_case


async def test_a_file_that_was_renamed_or_deleted_is_begun_anew(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()
            earlier = case.lines()
            case.log.rename(tmp_path / "rotated.jsonl")
            await _fail_into_new_file(case, "t2")
            earlier += case.lines()
            case.log.unlink()
            await _fail_into_new_file(case, "t3")
        case.destinations["file_log.audit"] = lambda: Counter(line["id"] for line in [*earlier, *case.lines()])


async def _fail_into_new_file(case: Case, run: str) -> None:
    """Report one more failure, whose line is the only one in a new file."""
    case.due, before = [], case.due
    await case.fail(run)
    await case.arrived()
    assert case.logged_runs() == [run]
    case.due += before


async def test_a_folder_in_place_of_the_file_parks_the_destination_with_a_reason(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        case.log.mkdir()
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t1", "t2")
            assert "notifications.jsonl" in await agent.wait_for_log("parked")
            await case.webhook.wait_for(3)
            assert "destination_parked" in {delivery["type"] for delivery in case.webhook.deliveries}
            case.log.rmdir()
        async with case.agent():
            await case.arrived()
        assert case.logged_runs() == ["t1", "t2"]
