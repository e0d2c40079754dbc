"""Lists that are long, large, endless or odd, as far as catching up reads them."""

from typing import Any

import pytest

from support.catching_up import EXECUTIONS, TASKS, begin, now, open_bench, task
from support.nasty.orchestrator_http import PAGES
from support.raw_http import HttpRequest, RestAnswer


def pages(rows: list[dict[str, Any]], page_size: int | None) -> Any:
    """Responds with pages of at most ``page_size`` rows; None: without paging."""

    def answer(request: HttpRequest) -> Any:
        if page_size is None:
            return rows
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        return {"data": {"tasks": rows[offset : offset + min(limit, page_size)]}}

    return answer


@pytest.mark.parametrize("page_size", [None, 1000, 100, 30])
async def test_all_pages_are_read(page_size: int | None) -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        ended = [task(f"t{n}", "failed", startedAt=now(), completedAt=now()) for n in range(250)]
        bench.raw.rest[TASKS] = pages(ended, page_size)
        await socket.reset()
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(250)]


@pytest.mark.parametrize(("newer", "offset"), [(30, 100), (100, 100), (100, 200), (150, 200), (230, 200)])
async def test_tasks_that_begin_meanwhile_and_move_the_pages_hide_none(newer: int, offset: int) -> None:
    """The page at ``offset`` may then hold only tasks of earlier pages, or be the one before once more."""
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        ended = [task(f"t{n}", "failed", startedAt=now(), completedAt=now()) for n in range(450)]
        begun = [task(f"later{n}", "queued") for n in range(newer)]

        def answer(request: HttpRequest) -> Any:
            rows = ended if int(request.query["offset"]) < offset else begun + ended
            return pages(rows, 100)(request)

        bench.raw.rest[TASKS] = answer
        await socket.reset()
        await notified.until("feed_gap")
        assert {name for _, name, _ in notified.of("task_failed")} == {f"t{n}" for n in range(450)}
        assert not notified.gaps[0].incomplete


async def test_an_endless_list_is_read_up_to_a_limit_and_the_rest_is_reported_as_unavailable() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[TASKS] = lambda request: [task(f"t{request.query['offset']}", "queued")]
        await socket.reset()
        await notified.until("feed_gap")
        assert (notified.gaps[0].incomplete, notified.gaps[0].reason) == (True, "tasks beyond the 50 newest")


async def test_a_run_that_is_not_listed_is_requested() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = task("t2", "cancelled", completedAt=now())
        await socket.reset()
        await notified.until("feed_gap")
        assert [one for one in notified.of() if one[2]] == [("task_cancelled", "t2", True)]


async def test_a_run_that_the_orchestrator_fails_on_delays_no_other() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2", "t3")
        bench.raw.rest[TASKS] = [task("t1", "failed", completedAt=now())]
        bench.raw.rest["GET /api/projects/a/tasks/t2"] = {"what": "is that"}
        bench.raw.rest["GET /api/projects/a/tasks/t3"] = task("t3", "cancelled", completedAt=now())
        await socket.reset()
        await notified.until("feed_gap")
        assert sorted(one for one in notified.of() if one[2]) == [
            ("task_cancelled", "t3", True),
            ("task_failed", "t1", True),
        ]
        assert notified.gaps[0].incomplete
        assert "holds no task" in notified.gaps[0].reason
        assert await bench.open_runs() == ["t2"]


async def test_junk_in_a_list_costs_only_itself() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2", "t3", "t4")
        bench.raw.rest[TASKS] = {
            "items": [
                None,
                7,
                {},
                {"id": "t1"},
                {"id": "t1", "status": ["failed"]},
                {"id": "t2", "status": " Failed ", "completedAt": "yesterday", "error": {"code": 7}},
                {"id": "t3", "status": "completed", "completedAt": now(), "output": deep},
                {"id": "t4", "status": "canceled", "task": "cut \ud83d", "completedAt": now()},
                {"id": "x" * 600, "status": "failed", "completedAt": now()},
            ]
        }
        await socket.reset()
        await notified.until("feed_gap")
        ends = [event for event, _ in notified.notified if event.caught_up]
        assert [event.type for event in ends] == ["task_failed", "task_completed", "task_cancelled"]
        assert ends[0].wire()["error"] == '{"code": 7}'
        assert "output" not in ends[1].wire()
        assert ends[2].wire()["task"] == "cut \ufffd"


async def test_a_page_that_is_too_large_is_requested_in_smaller_ones() -> None:
    async with open_bench({"max_body_bytes": 20_000}) as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        times = {"startedAt": now(), "completedAt": now()}
        ended = [task(f"t{n}", "failed", error="x" * 3000, **times) for n in range(20)]
        ended[7]["error"] = "x" * 30_000
        bench.raw.rest[TASKS] = pages(ended, 1000)
        requests = len(bench.raw.requests)
        await socket.reset()
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(20) if n != 7]
        assert notified.gaps[0].reason == "1 tasks that are too large to be read"
        limits = [one.query["limit"] for one in bench.raw.requests[requests:] if one.path.endswith("/a/tasks")]
        assert limits == ["100", "25", "6", "6", *["1"] * 15]


async def test_a_list_without_pages_that_is_too_large_is_reported_as_unavailable_once() -> None:
    async with open_bench({"max_body_bytes": 20_000}) as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[EXECUTIONS] = [{"id": f"e{n}", "status": "failed", "error": "x" * 3000} for n in range(20)]
        requests = len(bench.raw.requests)
        await socket.reset()
        await notified.until("feed_gap")
        assert notified.gaps[0].reason == "workflow: the answer has more than 20,000 bytes (HTTP 200)"
        assert sum(one.path.endswith("/executions") for one in bench.raw.requests[requests:]) == 1


async def test_pages_are_reconciled_one_by_one_and_none_twice() -> None:
    async with open_bench({"retry_pauses_s": ()}) as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        ended = [task(f"t{n}", "failed", startedAt=now(), completedAt=now()) for n in range(250)]
        whole, failures = pages(ended, 100), 1

        def answer(request: HttpRequest) -> Any:
            nonlocal failures
            if request.query["offset"] == "200" and failures:
                failures -= 1
                return RestAnswer({"error": "not now"}, 503)
            return whole(request)

        bench.raw.rest[TASKS] = answer
        await socket.reset()
        await notified.until("task_failed", 200)
        assert not notified.gaps
        await notified.until("feed_gap")
        assert [name for _, name, _ in notified.of("task_failed")] == [f"t{n}" for n in range(250)]
        assert (notified.gaps[0].changed, notified.gaps[0].incomplete) == (250, False)


async def test_a_long_output_is_cut_and_an_error_too() -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified, "t1", "t2")
        bench.raw.rest[TASKS] = [
            task("t1", "completed", completedAt=now(), output="o" * 150_000),
            task("t2", "failed", completedAt=now(), error="begin" + "e" * 150_000 + "end"),
        ]
        await socket.reset()
        await notified.until("feed_gap")
        first, second = (event for event, _ in notified.notified if event.caught_up)
        assert len(first.wire_json) < 9000
        assert "[142,000 characters left out]" in first.wire()["output"]
        assert second.wire()["error"].startswith("begin")
        assert second.wire()["error"].endswith("end")
        assert len(second.wire_json) < 9000


LARGE = {"rows of 150 KB of output", "a page of 100,000 rows"}
"""Takes 300 MB and half a minute; ``benchmarks.catching_up`` is similar."""


@pytest.mark.parametrize("name", sorted(PAGES.keys() - LARGE - {"pages without ids"}))
async def test_pages_of_any_kind_come_to_an_end(name: str) -> None:
    async with open_bench() as bench, bench.agent() as notified:
        socket = await begin(bench, notified)
        bench.raw.rest[TASKS] = lambda request: PAGES[name](request.query)
        await socket.reset()
        await notified.until("feed_gap")
        assert not notified.gaps[0].incomplete
