"""Posts notifications to Slack, by an incoming webhook or as a bot."""

from typing import Any, Final, Self

from pydantic import Field, model_validator

from aintandem_notify.api import (
    DestinationBroken,
    HttpAnswer,
    Notification,
    Plugin,
    PluginConfig,
    Rate,
    Receipt,
    Rejected,
    RetryLater,
    Secret,
    hookimpl,
)
from aintandem_notify_slack.message import Message, plain_message, rich_message
from aintandem_notify_slack.verdict import RATE_LIMITED, Judgement, Verdict, judge

__all__ = ["Config", "Slack", "SlackAnswerError"]

# A working webhook answers an empty message with one of these errors, and posts nothing.
_EMPTY_MESSAGE_ERRORS: Final = frozenset({"no_text", "invalid_payload"})

MAX_ANSWER_BYTES: Final = 262_144
"""Bytes of a response that are read: it repeats the message, and a character can take six bytes or more."""
MAX_RECEIPT_CHARACTERS: Final = 255
"""Characters of a channel or timestamp in a receipt; longer ones are ignored. Slack's have about twenty."""
MAX_WARNINGS: Final = 20
"""Warnings about answers that Slack itself does not give, for each instance."""
PAUSE_OF_A_LIMIT_S: Final = 60.0
"""Pause in seconds after a 429 that names none. A limit of the rate must not look like a message's own trouble."""
REQUEST_SHARE_OF_TIMEOUT: Final = 0.9
"""Share of ``timeout`` for a request, so that its own error comes before the agent cancels the delivery."""


class SlackAnswerError(Exception):
    """Slack, or a receiver in its place, refuses the message for a reason that is not known here."""


class Config(PluginConfig):
    """``[plugins.slack.<name>]``: exactly one of ``webhook_url``, and ``bot_token`` with ``channel``."""

    webhook_url: Secret | None = Field(None, description="URL of an incoming webhook")
    bot_token: Secret | None = Field(
        None, description="bot token (xoxb-…) with the scope chat:write; needs channel"
    )
    channel: str | None = Field(
        None, min_length=1, description="with bot_token: channel id (C0123456789) or name (#builds)"
    )
    api_url: str = Field(
        "https://slack.com/api",
        pattern=r"^https?://\S+$",
        description="with bot_token: base URL of the Web API, for gateways in between",
    )
    rate: Rate | None = Field(Rate(1, 1.0), description="Slack takes one message a second for each channel")

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if self.webhook_url is not None and self.bot_token is not None:
            raise ValueError("webhook_url and bot_token exclude each other; keep one of them")
        if self.webhook_url is None and self.bot_token is None:
            raise ValueError("either webhook_url or bot_token (with channel) is needed")
        if self.bot_token is not None and self.channel is None:
            raise ValueError("bot_token needs a channel to post to")
        if self.webhook_url is not None and self.channel is not None:
            raise ValueError("channel goes with bot_token; a webhook posts to the channel it was made for")
        if self.webhook_url is not None and not self.webhook_url.reveal().startswith(("https://", "http://")):
            raise ValueError("webhook_url is not a URL that begins with https://")
        return self


class Slack(Plugin[Config]):
    """One channel of one workspace."""

    def __init__(self) -> None:
        self._warned_of: set[tuple[int, str]] = set()
        """The status and form of the answers of compatible receivers that were logged."""

    @hookimpl
    async def deliver(self, notification: Notification) -> Receipt | None:
        """Post the message, in blocks; in its last attempt as plain text.

        With a bot token the receipt holds ``channel`` and ``ts``; with a webhook there is none.
        """
        message = plain_message(notification) if notification.plain else rich_message(notification)
        answer = await self._post(message)
        judgement = judge(answer)
        self._raise_unless_delivered(judgement, answer)
        return _receipt(judgement)

    @hookimpl
    async def check(self) -> None:
        """Check with Slack that the token or the webhook is valid; posts nothing."""
        if self.config.bot_token is not None:
            answer = await self._call("auth.test", {})
        else:
            answer = await self._post({})
        judgement = judge(answer)
        if self.config.webhook_url is None or judgement.reason not in _EMPTY_MESSAGE_ERRORS:
            self._raise_unless_delivered(judgement, answer)

    @property
    def _timeout(self) -> float:
        return self.config.timeout * REQUEST_SHARE_OF_TIMEOUT

    async def _post(self, message: Message) -> HttpAnswer:
        if self.config.webhook_url is not None:
            url = self.config.webhook_url.reveal()
            return await self._request(url, message, {})
        return await self._call("chat.postMessage", {"channel": self.config.channel, **message})

    async def _call(self, method: str, arguments: dict[str, Any]) -> HttpAnswer:
        token = self.config.bot_token.reveal() if self.config.bot_token is not None else ""
        return await self._request(
            f"{self.config.api_url.rstrip('/')}/{method}", arguments, {"Authorization": f"Bearer {token}"}
        )

    async def _request(self, url: str, content: dict[str, Any], headers: dict[str, str]) -> HttpAnswer:
        return await self.context.http.post(
            url,
            json=content,
            headers=headers,
            timeout=self._timeout,
            max_body=MAX_ANSWER_BYTES,
            # After a 2xx whose body is cut off, a repeat would post the message twice.
            need_body=False,
        )

    def _raise_unless_delivered(self, judgement: Judgement, answer: HttpAnswer) -> None:
        match judgement.verdict:
            case Verdict.TAKEN:
                self._warn_once(judgement.reason, answer)
            case Verdict.RETRY:
                is_limit = answer.status == 429 or judgement.reason in RATE_LIMITED
                after = answer.retry_after(self.context.clock.now())
                after = PAUSE_OF_A_LIMIT_S if is_limit and after is None else after
                raise RetryLater(f"Slack: {judgement.reason}", after=after)
            case Verdict.BROKEN:
                raise DestinationBroken(f"Slack: {judgement.reason}")
            case Verdict.REJECTED:
                raise Rejected(f"Slack: {judgement.reason}")
            case Verdict.UNKNOWN:
                # Not an outcome: the agent tries three times and then gives this notification up.
                raise SlackAnswerError(f"Slack: {judgement.reason}")

    def _warn_once(self, reason: str, answer: HttpAnswer) -> None:
        """Log an answer that Slack itself does not give, once for each status and form of the body."""
        form = (answer.status, answer.headers.get("content-type", "") if answer.body else "")
        if form not in self._warned_of and len(self._warned_of) < MAX_WARNINGS:
            self._warned_of.add(form)
            self.context.log.warning("delivered; Slack itself does not answer like this", answer=reason)


def _receipt(judgement: Judgement) -> Receipt | None:
    receipt = {name: judgement.content.get(name) for name in ("channel", "ts")}
    is_valid = all(isinstance(value, str) and len(value) <= MAX_RECEIPT_CHARACTERS for value in receipt.values())
    return receipt if is_valid else None
