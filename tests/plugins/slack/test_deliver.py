"""Slack with a strict receiver: webhook and bot token, and every response of the table."""

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from aintandem_notify.api import (
    DestinationBroken,
    HttpAnswer,
    HttpFailed,
    Rate,
    Rejected,
    RetryLater,
)
from aintandem_notify.log import redact
from aintandem_notify.testing import sample_notification
from aintandem_notify_slack import MAX_WARNINGS, Config, Slack, SlackAnswerError
from aintandem_notify_slack.verdict import ERRORS, Verdict, judge
from support.http_server import Endless, Raw, Reply, Reset, gzip_bomb
from support.plugin_bench import ScriptedHttp, open_plugin
from support.receivers import SlackReceiver, open_slack_receiver


def zipped_reply(content: bytes) -> Reply:
    return Reply(200, gzip.compress(content), {"content-encoding": "gzip"})


def _words(text: str) -> list[str]:
    return text.split()


RETRY: Final = _words(
    """
    ratelimited rate_limited message_limit_exceeded internal_error fatal_error service_unavailable
    request_timeout rollup_error team_added_to_org org_login_required
    """
)
BROKEN: Final = _words(
    """
    no_service no_service_id no_active_hooks no_team team_disabled invalid_token action_prohibited
    posting_to_general_channel_denied channel_is_archived is_archived channel_not_found user_not_found
    invalid_auth not_authed account_inactive token_revoked token_expired missing_scope no_permission
    not_in_channel restricted_action restricted_action_read_only_channel restricted_action_thread_locked
    ekm_access_denied not_allowed_token_type access_denied accesslimited enterprise_is_restricted
    two_factor_setup_required team_access_not_granted team_not_found messages_tab_disabled as_user_not_supported
    deprecated_endpoint method_deprecated
    """
)
REJECTED: Final = _words(
    """
    invalid_payload invalid_blocks invalid_blocks_format no_text msg_too_long msg_blocks_too_long
    too_many_attachments invalid_arguments metadata_too_large
    """
)


@pytest.fixture
async def receiver() -> AsyncIterator[SlackReceiver]:
    async with open_slack_receiver() as receiver:
        yield receiver


def _settings(receiver: SlackReceiver, way: str) -> dict[str, Any]:
    if way == "webhook":
        return {"webhook_url": receiver.url}
    return {"bot_token": receiver.bot_token, "channel": "#builds", "api_url": receiver.api_url}


@pytest.fixture(params=["webhook", "bot"])
async def slack(request: pytest.FixtureRequest, receiver: SlackReceiver) -> AsyncIterator[Slack]:
    async with open_plugin(Slack, Config, _settings(receiver, request.param)) as slack:
        yield slack


async def test_a_webhook_gets_the_message_and_gives_no_receipt(receiver: SlackReceiver) -> None:
    async with open_plugin(Slack, Config, _settings(receiver, "webhook")) as slack:
        notification = sample_notification("task_failed")
        assert await slack.deliver(notification) is None
    assert [message["text"] for message in receiver.messages] == [
        "❌ Refactor the payment module: task failed · Sales pipeline"
    ]
    assert receiver.ids == {notification.id: 1}


async def test_a_bot_posts_to_its_channel_and_keeps_the_receipt(receiver: SlackReceiver) -> None:
    async with open_plugin(Slack, Config, _settings(receiver, "bot")) as slack:
        receipt = await slack.deliver(sample_notification("task_failed"))
    assert receipt == {"channel": "C0123456789", "ts": "1767605400.000001"}
    (message,) = receiver.messages
    assert message["channel"] == "#builds"
    assert receiver.requests[0].headers["authorization"] == f"Bearer {receiver.bot_token}"


@pytest.mark.parametrize("odd", [None, 7, {}, [], "", "1" * 20_000, "1" * 256])
async def test_an_accepted_message_is_delivered_for_any_channel_and_ts(
    receiver: SlackReceiver, odd: object
) -> None:
    async with open_plugin(Slack, Config, _settings(receiver, "bot")) as slack:
        for named in ({"channel": "C1", "ts": odd}, {"channel": odd, "ts": "1.2"}):
            receiver.replies.append(Reply(200, json.dumps({"ok": True, **named}).encode()))
            receipt = await slack.deliver(sample_notification())
            assert receipt is None or len(json.dumps(receipt)) < 1000


async def test_an_answer_that_repeats_the_message_is_read_to_its_end(
    receiver: SlackReceiver, slack: Slack
) -> None:
    repeated = json.dumps({"ok": True, "message": {"text": "\u00e4" * 40_000}, "channel": "C1", "ts": "1.2"})
    receiver.replies.append(Reply(200, repeated.encode()))
    await slack.deliver(sample_notification())
    assert len(receiver.requests) == 1


# The table


@pytest.mark.parametrize("error", RETRY)
async def test_slack_has_trouble(receiver: SlackReceiver, slack: Slack, error: str) -> None:
    receiver.fail_with(error)
    with pytest.raises(RetryLater, match=error) as caught:
        await slack.deliver(sample_notification())
    assert caught.value.after == (60.0 if error in ("ratelimited", "rate_limited") else None)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("error", BROKEN)
async def test_the_destination_is_broken(receiver: SlackReceiver, slack: Slack, error: str) -> None:
    receiver.fail_with(error)
    with pytest.raises(DestinationBroken, match=f"^Slack: {error}$"):
        await slack.deliver(sample_notification())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("error", REJECTED)
@pytest.mark.parametrize("plain", [False, True])
async def test_a_message_that_slack_dislikes_is_left_to_the_agent(
    receiver: SlackReceiver, slack: Slack, error: str, plain: bool
) -> None:
    receiver.fail_with(error)
    with pytest.raises(Rejected, match=f"^Slack: {error}$"):
        await slack.deliver(sample_notification("task_failed", plain=plain))
    assert len(receiver.requests) == 1


async def test_a_last_try_is_text_alone(receiver: SlackReceiver, slack: Slack) -> None:
    await slack.deliver(sample_notification("task_failed", error="disk full", plain=True))
    (message,) = receiver.messages
    assert "blocks" not in message
    assert "disk full" in message["text"]


HTML: Final = {"content-type": "text/html"}


@pytest.mark.parametrize(
    ("reply", "form"),
    [
        (Reply(200, b"<!DOCTYPE html><html>Sign in</html>"), "HTTP 200 with a page of HTML"),
        (Reply(203, b"\n<HTML>"), "HTTP 203 with a page of HTML"),
        (Reply(200, b"<h1>Welcome</h1>", HTML), "HTTP 200 with a page of HTML"),
        (zipped_reply(b"<html>Sign in</html>"), "HTTP 200 with a page of HTML"),
        (Reply(200, b"", {"refresh": "0; url=http://portal.invalid/"}), "HTTP 200 with a page of HTML"),
        (Reply(200, b"<?xml version='1.0'?><WISPr/>"), "HTTP 200: <?xml version='1.0'?><WISPr/>"),
        (Reply(302, b"", {"location": "http://169.254.169.254/x?t=1"}), "HTTP 302, a redirect to 169.254.169.254"),
        (Reply(302, b"<html>", {"location": "/login"}), "HTTP 302, a redirect"),
        (Reply(307, b"", {"location": "http://[::1"}), "HTTP 307, a redirect"),
        (Reply(400, b"flux_compensator"), "HTTP 400: flux_compensator"),
        (Reply(401, b'{"message": "Unknown Webhook"}'), 'HTTP 401: {"message": "Unknown Webhook"}'),
        (Reply(403, b"<html>Attention required</html>", HTML), "HTTP 403 with a page of HTML"),
        (Reply(404, b"<html>not found</html>"), "HTTP 404 with a page of HTML"),
        (Reply(404, b""), "HTTP 404 without a body"),
        (Reply(407, b""), "HTTP 407 without a body"),
        (Reply(410, b"gone"), "HTTP 410: gone"),
        (Reply(418, b"\xff\xfe"), "HTTP 418 with a body that is not text"),
        (Reply(421), "HTTP 421 without a body"),
        (Reply(451, b'{"ok": true}'), 'HTTP 451: {"ok": true}'),
    ],
)
async def test_an_answer_of_another_server_is_trouble_of_the_way(
    receiver: SlackReceiver, slack: Slack, reply: Reply, form: str
) -> None:
    receiver.replies.append(reply)
    with pytest.raises(RetryLater) as caught:
        await slack.deliver(sample_notification())
    assert str(caught.value) == (
        f"Slack: another server answers in its place, such as a proxy or a portal ({form})"
    )
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("reply", "form"),
    [
        (Reply(200, b""), "HTTP 200 without a body"),
        (Reply(200, b"okay"), "HTTP 200: okay"),
        (Reply(200, b"{}"), "HTTP 200: {}"),
        (Reply(200, b'{"ok": "true"}'), 'HTTP 200: {"ok": "true"}'),
        (Reply(200, b"\xff\xfe"), "HTTP 200 with a body that is not text"),
        (Reply(200, b"\x0b\x00", {"content-encoding": "br"}), "HTTP 200 with a body that is not text"),
        (Reply(202, b"1"), "HTTP 202: 1"),
        (Reply(204), "HTTP 204 without a body"),
        (Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), "HTTP 200 without a body"),
    ],
)
async def test_an_unknown_success_is_delivered_with_one_warning(
    receiver: SlackReceiver, slack: Slack, reply: Any, form: str
) -> None:
    receiver.replies.extend([reply] * 3)
    with capture_logs() as logs:
        for _ in range(3):
            await slack.deliver(sample_notification())
    assert len(receiver.requests) == 3
    assert [(line["log_level"], line["answer"]) for line in logs] == [("warning", form)]


async def test_no_number_of_odd_answers_fills_the_log(receiver: SlackReceiver, slack: Slack) -> None:
    with capture_logs() as logs:
        for number in range(MAX_WARNINGS + 5):
            receiver.replies.append(Reply(200, b"x", {"content-type": f"text/x{number}"}))
            await slack.deliver(sample_notification())
    assert len(logs) == MAX_WARNINGS


@pytest.mark.parametrize(
    "reply",
    [
        Reply(201, b"ok"),
        Reply(200, b" ok\n", HTML),
        zipped_reply(b"ok"),
        Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"),
    ],
)
async def test_ok_needs_no_warning(receiver: SlackReceiver, slack: Slack, reply: Any) -> None:
    receiver.replies.append(reply)
    with capture_logs() as logs:
        await slack.deliver(sample_notification())
    assert logs == []


@pytest.mark.parametrize("fault", [gzip_bomb(), Endless()])
async def test_a_success_without_end_is_not_repeated(receiver: SlackReceiver, slack: Slack, fault: Any) -> None:
    receiver.replies.append(fault)
    await slack.deliver(sample_notification())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, '{"ok": false}'),
        (200, '{"ok": false, "error": "flux_compensator"}'),
        (400, '{"ok": false, "error": "flux_compensator"}'),
        (200, '{"ok": false, "error": {"no": "word"}}'),
        (200, '{"success": false}'),
        (200, '{"error": "no such channel"}'),
    ],
)
async def test_a_refusal_for_an_unknown_reason_is_no_success(
    receiver: SlackReceiver, slack: Slack, status: int, content: str
) -> None:
    receiver.replies.append(Reply(status, content.encode()))
    with pytest.raises(SlackAnswerError) as caught:
        await slack.deliver(sample_notification())
    assert str(caught.value) == f"Slack: a refusal for an unknown reason (HTTP {status}: {content})"
    assert len(receiver.requests) == 1


async def test_a_message_that_is_too_large_for_a_proxy_is_rejected(receiver: SlackReceiver, slack: Slack) -> None:
    receiver.replies.append(Reply(413, b"<html>Request Entity Too Large</html>", HTML))
    with pytest.raises(Rejected, match="HTTP 413"):
        await slack.deliver(sample_notification())


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("body", [b"", b"<html>", b"no_service"])
async def test_a_server_error_is_trouble(receiver: SlackReceiver, slack: Slack, status: int, body: bytes) -> None:
    receiver.replies.append(Reply(status, body))
    with pytest.raises(RetryLater):
        await slack.deliver(sample_notification())


@pytest.mark.parametrize(
    ("header", "after"), [("30", 30.0), ("-1", 60.0), ("soon", 60.0), (None, 60.0), ("999999", 86400.0)]
)
async def test_slack_is_left_alone_for_as_long_as_it_asks(
    receiver: SlackReceiver, slack: Slack, header: str | None, after: float | None
) -> None:
    receiver.replies.append(Reply(429, b"", {} if header is None else {"retry-after": header}))
    with pytest.raises(RetryLater, match="ratelimited") as caught:
        await slack.deliver(sample_notification())
    assert caught.value.after == after


async def test_a_date_to_wait_for_is_understood(receiver: SlackReceiver, slack: Slack) -> None:
    date = format_datetime(datetime(2100, 1, 1, tzinfo=UTC), usegmt=True)
    receiver.fail_with("ratelimited", retry_after=date)
    with pytest.raises(RetryLater) as caught:
        await slack.deliver(sample_notification())
    assert caught.value.after == 86400.0


@pytest.mark.parametrize("fault", [Reset(), Raw(b""), Raw(b"garbage\r\n\r\n")])
async def test_no_answer_is_left_to_the_agent(receiver: SlackReceiver, slack: Slack, fault: Any) -> None:
    receiver.replies.append(fault)
    with pytest.raises(HttpFailed) as caught:
        await slack.deliver(sample_notification())
    assert caught.value.maybe_sent


async def test_a_receiver_that_is_down_and_back(receiver: SlackReceiver, slack: Slack) -> None:
    notification = sample_notification()
    await receiver.go_down()
    with pytest.raises(HttpFailed) as caught:
        await slack.deliver(notification)
    assert not caught.value.maybe_sent
    await receiver.come_up()
    await slack.deliver(notification)
    await receiver.wait_for(1)
    assert receiver.ids == {notification.id: 1}


def test_each_error_has_one_meaning() -> None:
    assert [ERRORS[error] for error in RETRY] == [Verdict.RETRY] * len(RETRY)
    assert {error for error in BROKEN if not error.startswith("restricted_action")} == {
        error for error, verdict in ERRORS.items() if verdict is Verdict.BROKEN
    }
    assert {error for error in REJECTED if not error.startswith("invalid_blocks")} == {
        error for error, verdict in ERRORS.items() if verdict is Verdict.REJECTED
    }
    assert {error for error, verdict in ERRORS.items() if verdict is Verdict.RETRY} == set(RETRY)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 410])
def test_an_error_means_the_same_under_any_status(status: int) -> None:
    for error, verdict in ERRORS.items():
        assert judge(HttpAnswer(status, {}, error.encode())).verdict is verdict
        assert judge(HttpAnswer(status, {}, b'{"ok":false,"error":"%b"}' % error.encode())).verdict is verdict


def test_words_after_the_error_are_not_repeated() -> None:
    judgement = judge(HttpAnswer(400, {}, b"invalid_blocks: xoxb-canary"))
    assert (judgement.verdict, judgement.reason) == (Verdict.REJECTED, "invalid_blocks")


# check


async def test_checking_posts_nothing(receiver: SlackReceiver, slack: Slack) -> None:
    await slack.check()
    assert receiver.messages == []
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("error", ["invalid_token", "no_service", "invalid_auth"])
async def test_a_check_raises_for_a_broken_destination(receiver: SlackReceiver, slack: Slack, error: str) -> None:
    receiver.fail_with(error)
    with pytest.raises(DestinationBroken, match=error):
        await slack.check()


async def test_checking_a_wrong_token(receiver: SlackReceiver) -> None:
    settings = {**_settings(receiver, "bot"), "bot_token": "xoxb-somebody-else"}
    async with open_plugin(Slack, Config, settings) as slack:
        with pytest.raises(DestinationBroken, match="invalid_auth"):
            await slack.check()


async def test_a_check_raises_for_a_server_that_is_not_slack(receiver: SlackReceiver, slack: Slack) -> None:
    receiver.replies.append(Reply(200, b"<html>"))
    with pytest.raises(RetryLater, match="another server"):
        await slack.check()


# Configuration


def test_slack_is_asked_once_a_second_by_default() -> None:
    assert Config(webhook_url="https://hooks.example/x").rate == Rate(1, 1.0)


async def test_the_default_api_is_slacks_own() -> None:
    http = ScriptedHttp(HttpAnswer(200, {}, b'{"ok": true, "channel": "C1", "ts": "1.2"}'))
    async with open_plugin(Slack, Config, {"bot_token": "xoxb-1", "channel": "C1"}, http=http) as slack:
        await slack.deliver(sample_notification())
    assert http.asked[0][1] == "https://slack.com/api/chat.postMessage"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "either webhook_url or bot_token (with channel) is needed"),
        ({"channel": "C1"}, "either webhook_url or bot_token (with channel) is needed"),
        (
            {"webhook_url": "https://canary-secret", "bot_token": "xoxb-canary-secret", "channel": "C1"},
            "webhook_url and bot_token exclude each other; keep one of them",
        ),
        ({"bot_token": "xoxb-canary-secret"}, "bot_token needs a channel to post to"),
        (
            {"webhook_url": "https://canary-secret", "channel": "C1"},
            "channel goes with bot_token; a webhook posts to the channel it was made for",
        ),
        ({"webhook_url": "canary-secret"}, "webhook_url is not a URL that begins with https://"),
    ],
)
def test_an_invalid_table_has_a_sentence(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(settings)
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["msg"] == f"Value error, {sentence}"
    assert "canary-secret" not in str(error)


def test_the_secrets_of_a_table_are_kept_out_of_texts() -> None:
    config = Config.model_validate({"webhook_url": "https://chat.example/hooks/abcdefgh123"})
    assert "abcdefgh123" not in repr(config)
    assert "abcdefgh123" not in redact("posting to https://chat.example/hooks/abcdefgh123 failed")
