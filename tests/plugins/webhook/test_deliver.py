"""The webhook with a receiver that verifies signatures: the body, and every status of the table."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import trio
import trio.testing

from aintandem_notify.api import DestinationBroken, DestinationGone, HttpAnswer, HttpFailed, Rejected, RetryLater
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.log import register_secret
from aintandem_notify.testing import sample_event, sample_notification
from aintandem_notify_webhook import MAX_ANSWER_BYTES, Config, Webhook
from aintandem_notify_webhook.patience import PATIENCE_S, STREAK_GAP_S
from aintandem_notify_webhook.payload import encode
from aintandem_notify_webhook.verdict import Verdict, judge
from support.http_server import Endless, Raw, Reply, Reset, gzip_bomb
from support.nasty import pages
from support.plugin_bench import ScriptedHttp, open_plugin
from support.receivers import WEBHOOK_SECRET, WebhookReceiver, open_webhook_receiver
from support.trio_clock import TrioClock

DELIVERED: Final = [200, 201, 202, 204, 206, 299]
REDIRECTS: Final = [300, 301, 302, 303, 304, 307, 308]
TWICE: Final = [400, 411, 413, 414, 415, 422, 431, 501]
OTHER_CLIENT_ERRORS: Final = [402, 406, 409, 412, 418, 426, 451]
RETRY: Final = [407, 408, 421, 425, 429, 500, 502, 503, 504, 507, 511, *range(520, 530), 600, 999]


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with open_webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def webhook(receiver: WebhookReceiver) -> AsyncIterator[Webhook]:
    settings = {
        "url": receiver.url,
        "secret": WEBHOOK_SECRET,
        "headers": {"Authorization": "Bearer headercanary", "X-Team": "payments"},
    }
    async with open_plugin(Webhook, Config, settings) as webhook:
        yield webhook


async def test_a_signed_delivery(receiver: WebhookReceiver, webhook: Webhook) -> None:
    notification = sample_notification("task_failed", url="https://console.example/p/1", mentions=("here",))
    await webhook.deliver(notification)
    (body,) = receiver.deliveries
    assert body == {
        "type": "task_failed",
        "timestamp": "2026-01-05T09:30:00Z",
        "data": {
            "id": notification.id,
            "thread": "project-123/task/task-1/1",
            "severity": "error",
            "title": "Refactor the payment module: task failed",
            "body": "AssertionError: expected 200, got 502",
            "fields": [{"name": "Project", "value": "Sales pipeline"}],
            "url": "https://console.example/p/1",
            "mentions": ["here"],
            "rule": "everything",
            "created_at": "2026-01-05T09:30:00Z",
            "caught_up": False,
            "project": {"id": "project-123", "name": "Sales pipeline"},
            "run": {
                "project_id": "project-123",
                "kind": "task",
                "id": "task-1",
                "attempt": 1,
                "state": "failed",
                "name": "Refactor the payment module",
                "workflow_id": None,
                "created_at": "2026-01-05T09:29:18Z",
                "started_at": "2026-01-05T09:29:18Z",
                "ended_at": "2026-01-05T09:30:00Z",
                "duration": 42.0,
                "step": "Run the tests",
                "progress": 40.0,
                "output_tail": "collected 320 items\ntests/test_pay.py ....F..\n",
            },
            "plain": False,
            "instead_of": None,
            "event": notification.event.wire(),
        },
    }
    (headers,) = receiver.headers
    assert headers["webhook-id"] == notification.id
    assert "." not in headers["webhook-id"]
    assert headers["authorization"] == "Bearer headercanary"
    assert headers["x-team"] == "payments"


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "quantum_entangled"])
def test_every_event_goes_in_its_wire_form(event_type: str) -> None:
    notification = sample_notification(event_type)
    body = json.loads(encode(notification))
    assert body["type"] == event_type
    assert body["data"]["event"] == notification.event.wire()


def test_unknown_fields_of_an_event_go_along() -> None:
    notification = sample_notification(sample_event("task_failed", gpuHours=3, nested={"a": [1, None]}))
    event = json.loads(encode(notification))["data"]["event"]
    assert (event["gpuHours"], event["nested"]) == (3, {"a": [1, None]})


def test_a_lone_surrogate_prevents_no_delivery() -> None:
    notification = sample_notification().model_copy(update={"title": "a\ud800b"})
    assert json.loads(encode(notification))["data"]["title"] == "a?b"


async def test_a_wrong_signature_is_found_by_the_receiver(receiver: WebhookReceiver) -> None:
    other = "whsec_" + "QUFB" * 8
    async with open_plugin(Webhook, Config, {"url": receiver.url, "secret": other}) as webhook:
        with pytest.raises(DestinationBroken, match="HTTP 401"):
            await webhook.deliver(sample_notification())


async def test_both_secrets_sign_while_they_change(receiver: WebhookReceiver) -> None:
    other = "whsec_" + "QUFB" * 8
    settings = {"url": receiver.url, "secret": [other, WEBHOOK_SECRET]}
    async with open_plugin(Webhook, Config, settings) as webhook:
        await webhook.deliver(sample_notification())
    assert len(receiver.deliveries) == 1


async def test_without_a_secret_nothing_is_signed() -> None:
    async with open_webhook_receiver(secret=None) as receiver:
        async with open_plugin(Webhook, Config, {"url": receiver.url}) as webhook:
            await webhook.deliver(sample_notification())
        assert "webhook-signature" not in receiver.headers[0]


async def test_each_attempt_has_its_own_time_and_the_same_id(autojump_clock: trio.testing.MockClock) -> None:
    http = ScriptedHttp(HttpAnswer(400, {}), HttpAnswer(200, {}))
    clock = TrioClock(datetime(2026, 1, 1, tzinfo=UTC))
    settings = {"url": "https://hooks.example/x", "secret": WEBHOOK_SECRET, "timeout": 10.0}
    async with open_plugin(Webhook, Config, settings, http=http, clock=clock) as webhook:
        with pytest.raises(Rejected):
            await webhook.deliver(sample_notification())
        await trio.sleep(1)
        await webhook.deliver(sample_notification())
    (first_time, _, first), (second_time, _, second) = http.asked
    assert second_time - first_time == 1.0
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    assert int(second["headers"]["webhook-timestamp"]) - int(first["headers"]["webhook-timestamp"]) == 1
    assert first["headers"]["webhook-signature"] != second["headers"]["webhook-signature"]
    assert first["content"] == second["content"]
    assert first["timeout"] == 9.0


# The table


@pytest.mark.parametrize("status", DELIVERED)
async def test_2xx_is_delivered(receiver: WebhookReceiver, webhook: Webhook, status: int) -> None:
    receiver.fail_with(status)
    await webhook.deliver(sample_notification())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_is_trouble_at_first_and_never_followed(
    receiver: WebhookReceiver, webhook: Webhook, status: int
) -> None:
    receiver.replies.append(Reply(status, b"", {"location": receiver.server.base + "/elsewhere?token=canary"}))
    with pytest.raises(RetryLater) as caught:
        await webhook.deliver(sample_notification())
    assert str(caught.value) == (
        f"HTTP {status}, a redirect to 127.0.0.1, which is never followed; if the receiver has moved, correct url"
    )
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("body", [b"", b"default backend - 404", b"<html><title>Not Found</title></html>"])
async def test_a_receiver_that_is_not_there_is_trouble_at_first(
    receiver: WebhookReceiver, webhook: Webhook, status: int, body: bytes
) -> None:
    receiver.replies.append(Reply(status, body, {"retry-after": "7"}))
    with pytest.raises(RetryLater, match=f"HTTP {status}") as caught:
        await webhook.deliver(sample_notification())
    assert caught.value.after == 7.0


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 409, 410, 418, 422, 501, 511])
@pytest.mark.parametrize("page", pages.PAGES.values(), ids=pages.PAGES)
def test_a_page_is_none_of_the_receivers_own_answers(status: int, page: bytes) -> None:
    assert judge(HttpAnswer(status, {}, page)).verdict in (Verdict.MISSING, Verdict.RETRY)


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 410, 413, 422])
def test_a_page_is_one_if_the_config_says_so(status: int) -> None:
    page = HttpAnswer(status, {"content-type": "text/html"}, pages.PAGES["of nginx"])
    assert judge(page, accept_html=True).verdict is judge(HttpAnswer(status, {})).verdict


@pytest.mark.parametrize("status", [413, 414, 431])
def test_a_proxy_decides_about_the_size_of_a_message(status: int) -> None:
    assert judge(HttpAnswer(status, {}, pages.PAGES["of nginx"])).verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    "header",
    [("cf-mitigated", "challenge"), ("x-squid-error", "ERR_ACCESS_DENIED 0"), ("proxy-authenticate", "Basic")],
)
def test_a_proxy_may_refuse_without_a_page(header: tuple[str, str]) -> None:
    assert judge(HttpAnswer(403, dict([header]))).verdict is Verdict.MISSING
    assert judge(HttpAnswer(200, dict([header]))).verdict is Verdict.DELIVERED


async def test_the_way_to_take_pages_for_deliveries_is_in_the_reason(
    receiver: WebhookReceiver, webhook: Webhook
) -> None:
    receiver.replies.append(Reply(200, b"<!DOCTYPE html><title>Thank you</title>"))
    with pytest.raises(RetryLater) as caught:
        await webhook.deliver(sample_notification())
    assert str(caught.value) == (
        "HTTP 200 with a page of HTML, as portals and proxies answer in the receiver's place; "
        "if the receiver itself answers so, set accept_html = true"
    )


async def test_pages_are_taken_for_deliveries_if_the_config_says_so(receiver: WebhookReceiver) -> None:
    async with open_plugin(Webhook, Config, {"url": receiver.url, "accept_html": True}) as webhook:
        receiver.replies.append(Reply(200, b"<!DOCTYPE html><title>Thank you</title>"))
        await webhook.deliver(sample_notification())


MISSING: Final = HttpAnswer(404, {})


async def missing_at(webhook: Webhook, moment: float) -> type[Exception]:
    """Deliver at ``moment``, in seconds since the test began. Returns the class of the error."""
    await trio.sleep_until(moment)
    with pytest.raises((RetryLater, DestinationBroken)) as caught:
        await webhook.deliver(sample_notification())
    return caught.type


async def test_a_receiver_that_stays_away_is_left_to_a_person(autojump_clock: trio.testing.MockClock) -> None:
    http = ScriptedHttp(*[MISSING] * 4)
    async with open_plugin(Webhook, Config, {"url": "https://hooks.example/x"}, http=http) as webhook:
        assert await missing_at(webhook, 0) is RetryLater
        assert await missing_at(webhook, PATIENCE_S - 1) is RetryLater
        assert await missing_at(webhook, PATIENCE_S) is DestinationBroken
        assert await missing_at(webhook, PATIENCE_S + 3000) is DestinationBroken


async def test_an_answer_of_the_receiver_renews_the_patience(autojump_clock: trio.testing.MockClock) -> None:
    http = ScriptedHttp(MISSING, HttpAnswer(200, {}), MISSING, MISSING)
    async with open_plugin(Webhook, Config, {"url": "https://hooks.example/x"}, http=http) as webhook:
        assert await missing_at(webhook, 0) is RetryLater
        await trio.sleep_until(PATIENCE_S)
        await webhook.deliver(sample_notification())
        assert await missing_at(webhook, PATIENCE_S + 1) is RetryLater
        assert await missing_at(webhook, PATIENCE_S + 2) is RetryLater


async def test_two_absences_with_nothing_to_tell_in_between_are_two(
    autojump_clock: trio.testing.MockClock,
) -> None:
    http = ScriptedHttp(MISSING, MISSING, MISSING)
    async with open_plugin(Webhook, Config, {"url": "https://hooks.example/x"}, http=http) as webhook:
        assert await missing_at(webhook, 0) is RetryLater
        assert await missing_at(webhook, STREAK_GAP_S + 1) is RetryLater
        assert await missing_at(webhook, STREAK_GAP_S + PATIENCE_S + 1) is DestinationBroken


@pytest.mark.parametrize("status", [*TWICE, *OTHER_CLIENT_ERRORS])
async def test_a_message_that_is_disliked_is_left_to_the_agent(
    receiver: WebhookReceiver, webhook: Webhook, status: int
) -> None:
    receiver.fail_with(status, body=b'{"error":\n "unknown field"}')
    with pytest.raises(Rejected) as caught:
        await webhook.deliver(sample_notification())
    assert str(caught.value) == f'HTTP {status}: {{"error": "unknown field"}}'
    assert len(receiver.requests) == 1


async def test_the_receivers_text_is_never_cut_within_a_secret(
    receiver: WebhookReceiver, webhook: Webhook
) -> None:
    register_secret("receivercanary0123456789")
    receiver.fail_with(400, body=b"x" + b" " * (MAX_ANSWER_BYTES - 15) + b"receivercanary0123456789")
    with pytest.raises(Rejected) as caught:
        await webhook.deliver(sample_notification())
    assert str(caught.value) == "HTTP 400: x [redacted]"


def test_a_last_try_has_no_long_values_of_the_event() -> None:
    notification = sample_notification("task_failed", error="x" * 5000, plain=True)
    content = json.loads(encode(notification))["data"]
    assert content["plain"] is True
    assert content["event"]["taskId"] == "task-1"
    assert "error" not in content["event"]


def test_a_receiver_learns_whom_it_stands_in_for() -> None:
    notification = sample_notification("task_failed", instead_of="slack.team")
    assert json.loads(encode(notification))["data"]["instead_of"] == "slack.team"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "HTTP 401: the receiver does not accept the signature or the credentials"),
        (403, "HTTP 403: the receiver refuses us"),
        (410, "disabled: the receiver answered 410 Gone"),
    ],
)
async def test_only_a_person_can_mend_it(
    receiver: WebhookReceiver, webhook: Webhook, status: int, reason: str
) -> None:
    receiver.fail_with(status)
    with pytest.raises(DestinationBroken) as caught:
        await webhook.deliver(sample_notification())
    assert isinstance(caught.value, DestinationGone) is (status == 410)
    assert str(caught.value) == reason
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", RETRY)
async def test_the_receiver_has_trouble(receiver: WebhookReceiver, webhook: Webhook, status: int) -> None:
    receiver.fail_with(status)
    with pytest.raises(RetryLater, match=f"HTTP {status}") as caught:
        await webhook.deliver(sample_notification())
    assert caught.value.after == (60.0 if status == 429 else None)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("-1", None), ("junk", None), ("9999999", 86400.0)])
async def test_the_receiver_is_left_alone_for_as_long_as_it_asks(
    receiver: WebhookReceiver, webhook: Webhook, status: int, header: str, after: float | None
) -> None:
    receiver.fail_with(status, retry_after=header)
    with pytest.raises(RetryLater) as caught:
        await webhook.deliver(sample_notification())
    assert caught.value.after == (60.0 if status == 429 and after is None else after)


class _StoppedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 5, 9, 30, tzinfo=UTC)

    def capped_now(self) -> datetime:
        return self.now()


async def test_a_date_is_read_by_the_agents_clock() -> None:
    http = ScriptedHttp(HttpAnswer(503, {"retry-after": "Mon, 05 Jan 2026 09:35:00 GMT"}))
    settings = {"url": "https://hooks.example/x"}
    async with open_plugin(Webhook, Config, settings, http=http, clock=_StoppedClock()) as webhook:
        with pytest.raises(RetryLater) as caught:
            await webhook.deliver(sample_notification())
    assert caught.value.after == 300.0


def test_nothing_but_2xx_is_a_success() -> None:
    delivered = [status for status in range(1000) if judge(HttpAnswer(status, {})).verdict is Verdict.DELIVERED]
    assert delivered == list(range(200, 300))


@pytest.mark.parametrize("fault", [Reset(), Raw(b""), Raw(b"garbage\r\n\r\n")])
async def test_no_answer_is_left_to_the_agent(receiver: WebhookReceiver, webhook: Webhook, fault: Any) -> None:
    receiver.replies.append(fault)
    with pytest.raises(HttpFailed) as caught:
        await webhook.deliver(sample_notification())
    assert caught.value.maybe_sent
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [Endless(), gzip_bomb(), Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")]
)
async def test_an_accepted_delivery_stays_accepted_after_any_body(
    receiver: WebhookReceiver, webhook: Webhook, answer: Any
) -> None:
    receiver.replies.append(answer)
    await webhook.deliver(sample_notification())
    assert len(receiver.requests) == 1


async def test_the_reason_of_a_rejection_is_short_and_holds_no_secret(
    receiver: WebhookReceiver, webhook: Webhook
) -> None:
    receiver.fail_with(422, body=b"Authorization: Bearer headercanary " + b"x" * 5000)
    with pytest.raises(Rejected) as caught:
        await webhook.deliver(sample_notification())
    assert "headercanary" not in str(caught.value)
    assert len(str(caught.value)) < 250


async def test_a_receiver_that_is_down_and_back(receiver: WebhookReceiver, webhook: Webhook) -> None:
    notification = sample_notification()
    await receiver.go_down()
    with pytest.raises(HttpFailed) as caught:
        await webhook.deliver(notification)
    assert not caught.value.maybe_sent
    await receiver.come_up()
    await webhook.deliver(notification)
    await receiver.wait_for(1)
    assert receiver.ids == {notification.id: 1}


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/", "http://[fd00:ec2::254]/"])
async def test_metadata_addresses_are_refused(url: str) -> None:
    async with open_plugin(Webhook, Config, {"url": url}) as webhook:
        with pytest.raises(HttpFailed, match="metadata"):
            await webhook.deliver(sample_notification())


# check


async def test_checking_delivers_nothing(receiver: WebhookReceiver, webhook: Webhook) -> None:
    await webhook.check()
    assert receiver.deliveries == []
    assert receiver.requests[0].method == "HEAD"


async def test_checking_finds_nobody(receiver: WebhookReceiver, webhook: Webhook) -> None:
    await receiver.go_down()
    with pytest.raises(HttpFailed, match="Connection refused"):
        await webhook.check()


@pytest.mark.parametrize("status", [302, 407, 421, 511])
async def test_checking_finds_another_server(receiver: WebhookReceiver, webhook: Webhook, status: int) -> None:
    receiver.fail_with(status)
    with pytest.raises(DestinationBroken, match=f"HTTP {status}"):
        await webhook.check()


@pytest.mark.parametrize("status", [200, 403, 404, 405, 500, 501])
async def test_checking_accepts_that_head_is_refused(
    receiver: WebhookReceiver, webhook: Webhook, status: int
) -> None:
    receiver.fail_with(status)
    await webhook.check()
