"""Receivers on loopback that answer like Slack and like a signed webhook, and count accepted messages.

async with open_slack_receiver() as slack:
    config = f'webhook_url = "{slack.url}"'      # or api_url = slack.api_url, bot_token = slack.bot_token
    ...
    await slack.wait_for(2)                      # two messages accepted
    assert set(slack.ids.values()) == {1}        # none of them twice
    slack.fail_with("no_service")                # the next call; `times` for more
    await slack.go_down(); await slack.come_up() # refuses connections, and returns on the same port
    slack.replies.append(Silence())              # any fault of support.http_server

async with open_webhook_receiver() as hook:      # url, secret, deliveries, ids, wait_for(n)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from support.http_server import Answer, LoopbackServer, Received, Reply, open_server
from support.slack_rules import problem

WEBHOOK_SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_HOOK_PATH: Final = "/services/T0CANARY/B0CANARY/hookcanary0123456789abcd"
_BOT_TOKEN: Final = "xoxb-000000000000-canarytokencanarytoken"

_HOOK_STATUS: Final[Mapping[str, int]] = {
    "invalid_token": 403,
    "action_prohibited": 403,
    "posting_to_general_channel_denied": 403,
    "no_service": 404,
    "no_service_id": 404,
    "no_active_hooks": 404,
    "no_team": 404,
    "channel_not_found": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}


class _Receiver:
    def __init__(self, server: LoopbackServer) -> None:
        self.server = server
        server.respond = self._respond

    @property
    def requests(self) -> list[Received]:
        """All requests, with any response."""
        return self.server.requests

    @property
    def replies(self) -> Any:
        """Answers that are used before the receiver's own."""
        return self.server.replies

    async def go_down(self) -> None:
        """Refuse new connections and cut the open ones."""
        await self.server.go_down()

    async def come_up(self) -> None:
        """Accept connections again, on the same port."""
        await self.server.come_up()

    def _respond(self, request: Received) -> Answer:
        raise NotImplementedError


class SlackReceiver(_Receiver):
    """Slack's incoming webhook, and the two methods of its API that a bot needs, on one port."""

    def __init__(self, server: LoopbackServer) -> None:
        super().__init__(server)
        self.messages: list[dict[str, Any]] = []
        """Accepted payloads in their order."""
        self.refused: list[tuple[str, bytes]] = []
        """Slack's errors, each with its request body."""
        self.bot_token = _BOT_TOKEN
        self.channels = {"C0123456789", "#builds"}
        self._failures: list[tuple[str, Mapping[str, str]]] = []

    @property
    def url(self) -> str:
        """The URL of the incoming webhook; its path is a secret."""
        return self.server.base + _HOOK_PATH

    @property
    def api_url(self) -> str:
        """The base URL of the Web API, for the bot token."""
        return self.server.base + "/api"

    @property
    def ids(self) -> Counter[str]:
        """The count of accepted messages for each notification, by the id in the first block."""
        return Counter(message["blocks"][0]["block_id"] for message in self.messages if "blocks" in message)

    def fail_with(self, error: str, *, times: int = 1, retry_after: str | None = None) -> None:
        """Answer the next calls with one of Slack's errors, in the form of the webhook or the API."""
        headers = {} if retry_after is None else {"retry-after": retry_after}
        self._failures += [(error, headers)] * times

    async def wait_for(self, count: int) -> None:
        """Wait until ``count`` messages have been accepted in total."""
        await self.server.wait_until(lambda: len(self.messages) >= count)

    def _respond(self, request: Received) -> Answer:
        failure, headers = self._failures.pop(0) if self._failures else (None, {})
        if request.path == _HOOK_PATH:
            return self._hook(request, failure, headers)
        if request.path in ("/api/chat.postMessage", "/api/auth.test"):
            return self._method(request, failure, headers)
        return Reply(302, b"", {"location": "https://slack.com/"})

    def _hook(self, request: Received, failure: str | None, headers: Mapping[str, str]) -> Reply:
        error = failure or self._refusal(request, hook=True)
        if error is None:
            self.messages.append(json.loads(request.body))
            return Reply(200, b"ok", {"content-type": "text/html"})
        self.refused.append((error, request.body))
        status = 429 if error in ("ratelimited", "rate_limited") else _HOOK_STATUS.get(error, 400)
        return Reply(status, error.encode(), {"content-type": "text/html", **headers})

    def _method(self, request: Received, failure: str | None, headers: Mapping[str, str]) -> Reply:
        error = failure
        if error is None and request.headers.get("authorization") != f"Bearer {self.bot_token}":
            error = "invalid_auth" if "authorization" in request.headers else "not_authed"
        if error is None and request.path.endswith("auth.test"):
            return _json({"ok": True, "team": "Canaries", "user": "aintandem", "bot_id": "B0123456789"})
        error = error or self._refusal(request, hook=False)
        if error is not None:
            self.refused.append((error, request.body))
            return _json({"ok": False, "error": error}, 429 if error == "ratelimited" else 200, headers)
        message = json.loads(request.body)
        self.messages.append(message)
        stamp = f"1767605400.{len(self.messages):06d}"
        return _json({"ok": True, "channel": "C0123456789", "ts": stamp, "message": {"text": message["text"]}})

    def _refusal(self, request: Received, *, hook: bool) -> str | None:
        if request.method != "POST" or not request.headers.get("content-type", "").startswith("application/json"):
            return "invalid_payload" if hook else "invalid_form_data"
        try:
            payload = json.loads(request.body)
        except ValueError:
            return "invalid_payload" if hook else "invalid_json"
        error = problem(payload)
        if hook:
            return "invalid_payload" if error is None and "channel" in payload else error
        if payload.get("channel") not in self.channels:
            return "channel_not_found"
        return "invalid_arguments" if error == "invalid_payload" else error


class WebhookReceiver(_Receiver):
    """Verifies Standard Webhooks signatures with the reference library; answers 401 for an invalid one."""

    def __init__(self, server: LoopbackServer, secret: str | None) -> None:
        super().__init__(server)
        self.secret = secret
        self.deliveries: list[dict[str, Any]] = []
        """Accepted bodies in their order."""
        self.headers: list[Mapping[str, str]] = []
        """The headers of each accepted delivery."""

    @property
    def url(self) -> str:
        """The URL to post to; path and query are secrets."""
        return self.server.base + "/hooks/pathcanary01234567?key=querycanary01234567"

    @property
    def ids(self) -> Counter[str]:
        """The count of accepted deliveries for each ``webhook-id``."""
        return Counter(headers["webhook-id"] for headers in self.headers)

    def fail_with(self, status: int, *, times: int = 1, retry_after: str | None = None, body: bytes = b"") -> None:
        """Answer the next calls with a status."""
        headers = {} if retry_after is None else {"retry-after": retry_after}
        self.server.replies.extend([Reply(status, body, headers)] * times)

    async def wait_for(self, count: int) -> None:
        """Wait until ``count`` deliveries have been accepted in total."""
        await self.server.wait_until(lambda: len(self.deliveries) >= count)

    def _respond(self, request: Received) -> Answer:
        if request.method == "HEAD":
            return Reply(405)
        if request.method != "POST" or request.headers.get("content-type") != "application/json":
            return Reply(415)
        if self.secret is not None:
            try:
                Webhook(self.secret).verify(request.body, dict(request.headers))
            except WebhookVerificationError as error:
                return Reply(401, str(error).encode())
        body = json.loads(request.body)
        if set(body) != {"type", "timestamp", "data"}:
            return Reply(422, b"not a standard webhook")
        self.deliveries.append(body)
        self.headers.append(request.headers)
        return Reply(204, b"", {"content-length": "0"})


def _json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(content).encode(), {"content-type": "application/json", **(headers or {})})


@asynccontextmanager
async def open_slack_receiver() -> AsyncIterator[SlackReceiver]:
    """Run Slack on loopback until the block ends."""
    async with open_server() as server:
        yield SlackReceiver(server)


@asynccontextmanager
async def open_webhook_receiver(*, secret: str | None = WEBHOOK_SECRET) -> AsyncIterator[WebhookReceiver]:
    """Run a webhook receiver on loopback until the block ends; ``secret`` None accepts unsigned requests, too."""
    async with open_server() as server:
        yield WebhookReceiver(server, secret)
