"""Destinations that are down, slow, overrun, hostile or dead; the others do not notice."""

from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import trio

from support.fault_case import PROJECT, open_case
from support.http_server import Drip, Endless, Reply, Silence, gzip_bomb, open_server
from support.raw_orchestrator import event_text, frame
from support.receivers import open_slack_receiver, open_webhook_receiver
from support.shifted_clock import shifted_clock

RUNS = 10
EVENTS_PER_RUN = 3
RATE = 20


async def test_slack_gets_all_that_waited_in_order_and_no_faster_than_it_may(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, open_slack_receiver() as slack:
        case.configure(
            f'[plugins.slack.team]\nwebhook_url = "{slack.url}"\nrate = "{RATE}/s"\nevents = ["*"]\n', only=()
        )
        case.destinations["slack.team"] = lambda: slack.ids
        await slack.go_down()
        async with case.agent() as agent:
            socket = await case.connected()
            kinds = ("task_queued", "task_started", "task_failed")
            runs = [f"t{number}" for number in range(RUNS)]
            case.due += runs
            texts = [event_text(kind, PROJECT, taskId=run, task=run, error="x") for kind in kinds for run in runs]
            await socket.send_bytes_raw(b"".join(map(frame, texts)))
            await agent.wait_for_log("backing off")
            await slack.come_up()
            await slack.wait_for(len(texts))
        for run in runs:
            told = [message["text"] for message in slack.messages if run in message["text"]]
            assert len(told) == EVENTS_PER_RUN
            assert "queued" in told[0]
            assert "failed" in told[-1]
        times = [request.at for request in slack.requests]
        # One of them may have been held up on its way, and the next not.
        assert times[-1] - times[0] >= (len(texts) - 2) / RATE


def asked_to_wait(at: datetime) -> Mapping[str, tuple[str | None, float]]:
    """Values of Retry-After, and the least pause in seconds that each must lead to."""
    return {
        "seconds": ("2", 2.0),
        "date": (format_datetime(at + timedelta(seconds=4), usegmt=True), 3.0),
        "junk": ("soon", 0.0),
        "negative": ("-1", 0.0),
        "absent": (None, 0.0),
    }


async def test_nobody_is_asked_again_earlier_than_it_said(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, AsyncExitStack() as receivers:
        asked = asked_to_wait(datetime.now(UTC))
        hooks = {name: await receivers.enter_async_context(open_webhook_receiver(secret=None)) for name in asked}
        case.configure(
            *(
                f'[plugins.webhook.{name}]\nurl = "{hook.url}"\nevents = ["task_failed"]\n'
                for name, hook in hooks.items()
            ),
            only=("file_log.audit",),
        )
        for name, hook in hooks.items():
            case.destinations[f"webhook.{name}"] = lambda hook=hook: hook.ids  # type: ignore[misc]
        async with case.agent():
            await case.connected()
            asked_at, asked = trio.current_time(), asked_to_wait(datetime.now(UTC))
            for name, (retry_after, _) in asked.items():
                hooks[name].fail_with(429, retry_after=retry_after)
            await case.fail("t1", "t2")
            await case.arrived()
            for hook in hooks.values():
                await hook.wait_for(2)
        for name, (_, least) in asked.items():
            first, second, *_ = (request.at for request in hooks[name].requests)
            # A date holds from when it was made, however late the answer with it.
            assert second - (asked_at if name == "date" else first) >= least, name
            assert len(hooks[name].requests) == 3, name


async def test_answers_without_end_are_cut_and_redirects_are_not_followed(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, open_server() as elsewhere:
        case.configure(webhook='timeout = "500ms"\n')
        case.webhook.replies.extend([Drip(), Endless(), gzip_bomb()])
        async with case.agent() as agent:
            await case.connected()
            await case.fail("t0", "t1", "t2")
            await case.webhook.server.wait_for_requests(3)
            await case.fail("t3")
            await case.webhook.wait_for(1)
            case.webhook.replies.append(Reply(302, b"", {"location": elsewhere.base + "/"}))
            await case.fail("t4", "t5")
            await agent.wait_for_log("redirect")
            await case.written()
        # Accepted is accepted, whatever the answer's body would have been.
        assert case.told_by_webhook() == ["t3"]
        assert len(case.webhook.requests) == 5
        assert case.webhook.server.bytes_sent < 100 * 2**20
        assert not elsewhere.requests
        accepted = [request.headers["webhook-id"] for request in case.webhook.requests[:4]]
        case.destinations["webhook.ops"] = lambda: Counter(accepted)
        case.unfinished.add("webhook.ops")


async def test_a_dead_destination_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure('[delivery]\ndrain_timeout = "100ms"\n')
        case.webhook.server.respond = lambda _request: Silence()
        async with case.agent():
            await case.connected()
            await case.fail("t0")
            await case.webhook.server.wait_for_requests(1)
            for number in range(1, 50):
                await case.fail(f"t{number}")
            await case.written()
        assert len(case.webhook.requests) == 1
        case.unfinished.add("webhook.ops")


async def test_after_an_hour_what_matters_least_is_one_summary_and_every_failure_is_told(tmp_path: Path) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path) as case, open_slack_receiver() as slack:
        case.configure(
            f'[plugins.slack.team]\nwebhook_url = "{slack.url}"\nrate = "100/s"\n',
            'events = ["*_completed", "*_failed"]\n',
            only=(),
        )
        case.destinations["slack.team"] = lambda: slack.ids
        await slack.go_down()
        async with case.agent(environ=clock.environ) as agent:
            socket = await case.connected()
            ended = [event_text("task_completed", PROJECT, taskId=f"c{run}", task=f"c{run}") for run in range(60)]
            await socket.send_bytes_raw(b"".join(map(frame, [*ended, *case.miss("t1", "t2", "t3")])))
            await agent.wait_for_log("backing off")
            clock.set(3600)
            await slack.come_up()
            await slack.server.wait_until(lambda: any("t3" in message["text"] for message in slack.messages))
        told = [message["text"] for message in slack.messages]
        ((folded,),) = case.stored("SELECT count(*) FROM deliveries WHERE state = 'folded'")
        assert [text for text in told if "notifications in one" in text] == [f"ℹ️ {folded} notifications in one"]
        assert folded > 0
        assert sum("completed" in text for text in told) + folded == len(ended)
        assert sum("failed" in text for text in told) == 3
