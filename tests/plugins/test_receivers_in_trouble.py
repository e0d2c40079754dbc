"""Another server answers in a receiver's place for a while: from the queue to the plugin, in virtual time.

Nothing is lost, nothing is posted twice, and an answer that counts as delivered is not repeated.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import aintandem_notify_slack as slack
import aintandem_notify_webhook as webhook
from aintandem_notify.api import HttpAnswer
from support.nasty import pages, receivers_http
from support.nasty.wire import WireAnswer, answer
from support.outbox import NOW
from support.receiving import Destination, HttpResult, collect, open_destination

MINUTE: Final = 60.0
WEBHOOK: Final = {"url": "http://receiver.invalid/hook"}
SLACK: Final[Mapping[str, Mapping[str, Any]]] = {
    "webhook": {"webhook_url": "http://receiver.invalid/hook"},
    "bot": {"bot_token": "xoxb-canary", "channel": "C1", "api_url": "http://receiver.invalid/api"},
}

PAGES: Final[Mapping[str, WireAnswer]] = {
    f"{status} with {name}": answer(status, page, {"content-type": content_type})
    for status in (200, 203, 400, 401, 403, 404, 410, 422, 501, 511)
    for name, page, content_type in (
        ("a login page", pages.PAGES["a login page"], "text/html"),
        ("bytes that are a page", pages.PAGES["of nginx"], "application/octet-stream"),
        ("a refresh", pages.PAGES["a refresh alone"], "text/html; charset=utf-8"),
    )
}
OTHERS: Final[Mapping[str, WireAnswer]] = {
    **receivers_http.ANSWERS,
    **PAGES,
}
"""Answers of a receiver, of a portal and of a proxy."""

REFUSALS: Final = frozenset({"400", "410", "413", "431"})
"""The receiver's own: about this message, or for good."""

UNKNOWN_REFUSALS: Final = {name for name in receivers_http.SLACK if "error" in name or "false" in name}
"""Slack's own refusals without a known reason: three tries and one as plain text."""

DELIVERIES: Final = {name for name in receivers_http.SLACK if "ts" in name or ("ok" in name and "500" not in name)}


@pytest.fixture(scope="module")
def results() -> Mapping[str, HttpResult]:
    everything = {**OTHERS, **receivers_http.SLACK, **receivers_http.COMPATIBLE}
    return dict(zip(everything, collect(everything.values()), strict=True))


def well(body: Mapping[str, Any]) -> HttpResult:
    """Slack's own answer, which any webhook may give, too."""
    return HttpAnswer(200, {"content-type": "text/html"}, b'{"ok": true, "channel": "C1", "ts": "1.2"}')


def for_a_minute(result: HttpResult) -> Callable[[Mapping[str, Any]], HttpResult]:
    begun = trio.current_time()
    return lambda body: result if trio.current_time() - begun < MINUTE else well(body)


def posts(destination: Destination, since: float = 0.0) -> Counter[str]:
    """The number of posts of each message from the moment ``since`` on."""
    return Counter(
        next(task for task in ("t0", "t1", "t2") if task in json.dumps(body))
        for when, body in destination.http.requests
        if when >= since
    )


def is_taken(result: HttpResult) -> bool:
    """True if the answer counts as delivered by any receiver."""
    return isinstance(result, HttpAnswer) and result.status // 100 == 2 and not result.is_html


async def deliver_three(destination: Destination, result: HttpResult) -> None:
    """Queue three messages, and check that each is posted once when it counts, and none before."""
    await destination.queue(3)
    await trio.sleep(MINUTE - 1)
    if is_taken(result):
        assert await destination.states() == ["delivered"] * 3
        assert posts(destination) == {"t0": 1, "t1": 1, "t2": 1}
        return
    assert await destination.states() == ["queued"] * 3
    pause = result.retry_after(NOW) if isinstance(result, HttpAnswer) else None
    await trio.sleep(MINUTE + (pause or 0.0))
    if await destination.states() != ["delivered"] * 3:
        await trio.sleep(10 * MINUTE)  # it was parked
    assert await destination.states() == ["delivered"] * 3
    assert posts(destination, since=MINUTE) == {"t0": 1, "t1": 1, "t2": 1}


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in REFUSALS])
async def test_a_webhook_whose_place_is_taken_for_a_minute(
    name: str, results: Mapping[str, HttpResult], autojump_clock: MockClock
) -> None:
    assert not (is_taken(results[name]) and name in {**PAGES, **receivers_http.PORTALS})
    assert is_taken(results[name]) or name not in receivers_http.ACCEPTED
    async with open_destination(
        webhook.Webhook, webhook.Config, WEBHOOK, for_a_minute(results[name])
    ) as destination:
        await deliver_three(destination, results[name])


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "413"])
async def test_slack_whose_place_is_taken_for_a_minute(
    name: str, results: Mapping[str, HttpResult], autojump_clock: MockClock
) -> None:
    door = SLACK["bot" if name in receivers_http.PORTALS else "webhook"]
    respond = for_a_minute(results[name])
    async with open_destination(slack.Slack, slack.Config, door, respond) as destination:
        await deliver_three(destination, results[name])


@pytest.mark.parametrize("name", receivers_http.SLACK)
async def test_an_answer_of_slacks_own_is_posted_again_only_after_a_refusal(
    name: str, results: Mapping[str, HttpResult], autojump_clock: MockClock
) -> None:
    async with open_destination(
        slack.Slack, slack.Config, SLACK["bot"], for_a_minute(results[name])
    ) as destination:
        await destination.queue(3)
        await trio.sleep(20 * MINUTE)
        expected = "dead" if name in UNKNOWN_REFUSALS else "delivered"
        assert await destination.states() == [expected] * 3
        if name in DELIVERIES:
            assert posts(destination) == {"t0": 1, "t1": 1, "t2": 1}


@pytest.mark.parametrize("name", receivers_http.COMPATIBLE)
@pytest.mark.parametrize("door", SLACK)
async def test_a_compatible_receiver_gets_each_message_once_and_one_warning_says_so(
    door: str, name: str, results: Mapping[str, HttpResult], autojump_clock: MockClock
) -> None:
    result = results[name]
    assert isinstance(result, HttpAnswer)
    with capture_logs() as logs:
        async with open_destination(slack.Slack, slack.Config, SLACK[door], lambda _body: result) as destination:
            await destination.queue(3)
            await trio.sleep(3600)
            assert await destination.states() == ["delivered"] * 3
            assert posts(destination) == {"t0": 1, "t1": 1, "t2": 1}
    (warning,) = [line for line in logs if line["log_level"] == "warning"]
    assert warning["answer"].startswith(f"HTTP {result.status}")


MISSING: Final = (
    "404 during a redeploy",
    "404 with a login page",
    "302 to a login page",
    "403 with html",
    "200 with a login page",
    "410 with a refresh",
)


@pytest.mark.parametrize("name", MISSING)
async def test_a_webhook_that_is_missing_for_ever_is_parked_and_loses_nothing(
    name: str, results: Mapping[str, HttpResult], autojump_clock: MockClock
) -> None:
    answers = [results[name]]
    async with open_destination(webhook.Webhook, webhook.Config, WEBHOOK, lambda _body: answers[0]) as destination:
        await destination.queue(3)
        await trio.sleep(9 * MINUTE)
        assert (await destination.status()).state == "backing off"
        await trio.sleep(30 * MINUTE)
        status = await destination.status()
        assert status.state == "parked"
        assert status.last_error is not None
        assert status.last_error.endswith("(for more than 10 minutes)")
        assert await destination.states() == ["queued"] * 3
        back_at = trio.current_time()
        answers[0] = well({})
        await trio.sleep(3600)
        assert await destination.states() == ["delivered"] * 3
        assert posts(destination, since=back_at) == {"t0": 1, "t1": 1, "t2": 1}
        assert (await destination.status()).state == "open"


@pytest.mark.parametrize("plugin", [webhook, slack], ids=["webhook", "slack"])
async def test_a_receiver_that_fails_one_time_in_twenty_gets_each_message_once(
    plugin: Any, autojump_clock: MockClock
) -> None:
    count = 0

    def respond(body: Mapping[str, Any]) -> HttpResult:
        nonlocal count
        count += 1
        return HttpAnswer(503, {}) if count % 20 == 0 else well(body)

    plugin_class, keys = (webhook.Webhook, WEBHOOK) if plugin is webhook else (slack.Slack, SLACK["webhook"])
    async with open_destination(plugin_class, plugin.Config, keys, respond) as destination:
        await destination.queue(60)
        await trio.sleep(10 * MINUTE)
        assert await destination.states() == ["delivered"] * 60
        assert count == 63
