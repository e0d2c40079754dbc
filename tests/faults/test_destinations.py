"""Destinations that are down, slow, overloaded, hostile or dead; the others are not affected."""

from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import trio

from aintandem_notify_webhook import Webhook
from support.fault_case import PROJECT, open_case
from support.fault_counts import Counts, Record
from support.http_server import Drip, Endless, Reply, Silence, gzip_bomb, open_server
from support.raw_orchestrator import event_text, frame
from support.receivers import SlackReceiver, open_slack_receiver, open_webhook_receiver
from support.shifted_clock import shifted_clock

HOUR = 3600
KINDS = ("task_queued", "task_started", "task_failed")


async def test_channels_get_all_that_waited_an_hour_in_order_and_no_faster_than_they_may(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path, record) as case, AsyncExitStack() as receivers:
        channels = [await receivers.enter_async_context(open_slack_receiver()) for _ in range(counts.channels)]
        for number, slack in enumerate(channels):
            case.destinations[f"slack.c{number}"] = partial(getattr, slack, "ids")
            await slack.go_down()
        case.configure(*(_channel(number, slack, counts.rate) for number, slack in enumerate(channels)), only=())
        runs = [f"t{number:04}" for number in range(counts.runs)]
        case.due += runs
        texts = [event_text(kind, PROJECT, taskId=run, task=run, error="x") for kind in KINDS for run in runs]
        async with case.agent(environ=clock.environ, seconds=counts.seconds) as agent:
            socket = await case.connected()
            await socket.send_bytes_raw(b"".join(map(frame, texts)))
            await agent.wait_for_log("backing off", times=counts.channels)
            clock.set(HOUR)
            for slack in channels:
                await slack.come_up()
            for slack in channels:
                await slack.wait_for(len(texts))
        record(
            "count",
            f"{len(texts) * len(channels):,} queued for {len(channels)} channels, {counts.rate} a second each",
        )
        for slack in channels:
            for run in runs:
                titles = [message["text"] for message in slack.messages if run in message["text"]]
                assert len(titles) == len(KINDS)
                assert "queued" in titles[0]
                assert "failed" in titles[-1]
            times = [request.at for request in slack.requests]
            # One of them may have been delayed under way, and the next not.
            assert times[-1] - times[0] >= (len(texts) - 2) / counts.rate


def _channel(number: int, slack: SlackReceiver, rate: int) -> str:
    """Returns a Slack instance that gets everything as errors, so that nothing becomes a summary."""
    return (
        f'[plugins.slack.c{number}]\nwebhook_url = "{slack.url}"\nrate = "{rate}/s"\nevents = ["*"]\n'
        'severity = "error"\n'
    )


def retry_after_values(until: datetime) -> Mapping[str, tuple[str | None, float]]:
    """Values of Retry-After, and the minimum pause in seconds of each; the date states its own time."""
    return {
        "seconds": ("2", 2.0),
        "date": (format_datetime(until, usegmt=True), 0.0),
        "junk": ("soon", 0.0),
        "negative": ("-1", 0.0),
        "absent": (None, 0.0),
    }


async def test_nobody_is_asked_again_earlier_than_it_said(tmp_path: Path, counts: Counts, record: Record) -> None:
    async with open_case(tmp_path, record) as case, AsyncExitStack() as receivers:
        until = datetime.now(UTC)
        values = retry_after_values(until)
        hooks = {name: await receivers.enter_async_context(open_webhook_receiver(secret=None)) for name in values}
        case.configure(
            *(
                f'[plugins.webhook.{name}]\nurl = "{hook.url}"\nevents = ["task_failed"]\nparallel = 1\n'
                for name, hook in hooks.items()
            ),
            only=("file_log.audit",),
        )
        for name, hook in hooks.items():
            case.destinations[f"webhook.{name}"] = partial(getattr, hook, "ids")
        async with case.agent(seconds=counts.seconds):
            await case.connected()
            until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
            values = retry_after_values(until)
            for name, (retry_after, _) in values.items():
                hooks[name].fail_with(429, retry_after=retry_after, times=counts.refusals)
            await case.fail("t1", "t2")
            await case.arrived()
            for hook in hooks.values():
                await hook.wait_for(2)
        # In this order: a delay between the two makes it look later than it was, never earlier.
        ago = timedelta(seconds=trio.current_time() - hooks["date"].requests[1].at)
        again = datetime.now(UTC) - ago
        assert again >= until
        record("count", f"{counts.refusals} in a row at {len(hooks)} receivers")
        for name, (_, least) in values.items():
            # The agent's own notices about the other receivers are not tries.
            times = [request.at for request in hooks[name].requests if b"task_failed" in request.body]
            pauses = [later - earlier for earlier, later in pairwise(times[: 1 + counts.refusals])]
            assert min(pauses) >= least, name
            assert len(times) == 2 + counts.refusals, name


async def test_answers_without_end_are_cut_and_redirects_are_not_followed(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, open_server() as elsewhere:
        case.configure(webhook='timeout = "12s"\nparallel = 1\n')
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
        # The status decides; the body of the response does not matter.
        assert case.webhook_runs() == ["t3"]
        assert len(case.webhook.requests) == 5
        assert case.webhook.server.bytes_sent < 100 * 2**20
        assert not elsewhere.requests
        accepted = [request.headers["webhook-id"] for request in case.webhook.requests[:4]]
        case.destinations["webhook.ops"] = lambda: Counter(accepted)
        case.unfinished.add("webhook.ops")


async def test_a_dead_destination_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure('[delivery]\ndrain_timeout = "2s"\n', webhook='timeout = "2m"\n')
        case.webhook.server.respond = lambda _request: Silence()
        async with case.agent():
            await case.connected()
            await case.fail("t0")
            await case.webhook.server.wait_for_requests(1)
            for number in range(1, 50):
                await case.fail(f"t{number}")
            await case.written()
            await case.webhook.server.wait_for_requests(Webhook.parallel)
        assert len(case.webhook.requests) == Webhook.parallel
        case.unfinished.add("webhook.ops")


async def test_after_an_hour_what_matters_least_is_one_summary_and_every_failure_is_told(
    tmp_path: Path, counts: Counts, record: Record
) -> None:
    clock = shifted_clock(tmp_path)
    async with open_case(tmp_path, record) as case, open_slack_receiver() as slack:
        case.configure(
            f'[plugins.slack.team]\nwebhook_url = "{slack.url}"\nrate = "100/s"\n'
            'events = ["*_completed", "*_failed"]\n',
            only=("file_log.audit",),
        )
        case.destinations["slack.team"] = lambda: slack.ids
        await slack.go_down()
        async with case.agent(environ=clock.environ, seconds=counts.seconds) as agent:
            socket = await case.connected()
            ended = [
                event_text("task_completed", PROJECT, taskId=f"c{run}", task=f"c{run}")
                for run in range(counts.folded)
            ]
            failed = case.miss(*(f"t{run}" for run in range(counts.errors)))
            await socket.send_bytes_raw(b"".join(map(frame, [*ended, *failed])))
            await agent.wait_for_log("backing off")
            # The failures came last, so all runs wait by now.
            await case.written()
            clock.set(HOUR)
            await slack.come_up()
            await slack.server.wait_until(
                lambda: sum(" failed" in message["text"] for message in slack.messages) == counts.errors
            )
        texts = [message["text"] for message in slack.messages]
        ((folded,),) = case.stored("SELECT count(*) FROM deliveries WHERE state = 'folded'")
        assert [text for text in texts if "notifications in one" in text] == [f"ℹ️ {folded} notifications in one"]
        record("count", f"{len(ended) + counts.errors:,} queued, {folded:,} folded")
        assert folded > 0
        assert sum("completed" in text for text in texts) + folded == len(ended)
        assert sum("failed" in text for text in texts) == counts.errors
