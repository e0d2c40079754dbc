"""Sends each notification as a signed POST request, after Standard Webhooks 1.0.0."""

import re
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

import trio
from pydantic import AfterValidator, BeforeValidator, Field

from aintandem_notify.api import (
    DestinationBroken,
    DestinationGone,
    HttpAnswer,
    Notification,
    Plugin,
    PluginConfig,
    Rejected,
    RetryLater,
    Secret,
    hookimpl,
)
from aintandem_notify_webhook.patience import PATIENCE_S, Patience
from aintandem_notify_webhook.payload import encode
from aintandem_notify_webhook.signing import key_of, signature_headers
from aintandem_notify_webhook.verdict import Judgement, Verdict, judge

__all__ = ["Config", "Webhook"]

MAX_ANSWER_BYTES: Final = 2048
"""Bytes of a response body that are read: enough for a reason."""
MAX_REASON_CHARACTERS: Final = 200
"""Characters of a response body that are quoted as the reason."""
REQUEST_SHARE_OF_TIMEOUT: Final = 0.9
"""Share of ``timeout`` for a request, so that its own error comes before the agent cancels the delivery."""

PAUSE_OF_A_LIMIT_S: Final = 60.0
"""Pause in seconds after a 429 that names none. A limit of the rate must not look like a message's own trouble."""

OTHER_SERVER_STATUSES: Final = frozenset({407, 421, 511})
"""Statuses that no receiver gives to a request of any method."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_RESERVED_HEADERS: Final = frozenset(
    {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    }
)


def _check_url(url: Secret) -> Secret:
    try:
        parts = urlsplit(url.reveal())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("not a URL that begins with http:// or https:// and names a host")
    return url


def _check_key(secret: Secret) -> Secret:
    key_of(secret)
    return secret


def _as_sequence(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _check_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("not the name of a header")
    if name.lower() in _RESERVED_HEADERS:
        raise ValueError("this header is set by the plugin")
    return name


def _check_value(value: Secret) -> Secret:
    if not _HEADER_VALUE.fullmatch(value.reveal()):
        raise ValueError("not the value of a header: only visible ASCII characters, with spaces between them")
    return value


SigningSecret = Annotated[Secret, AfterValidator(_check_key)]
SigningSecrets = Annotated[
    tuple[SigningSecret, ...],
    BeforeValidator(_as_sequence, json_schema_input_type=Secret | tuple[Secret, ...]),
]


class Config(PluginConfig):
    """``[plugins.webhook.<name>]``."""

    url: Annotated[Secret, AfterValidator(_check_url)] = Field(
        description="where to POST; a secret, because many receivers put a token into it"
    )
    secret: SigningSecrets = Field(
        (),
        description="signing secret (whsec_…), or a list of them while it changes; without one nothing is signed",
    )
    headers: dict[Annotated[str, AfterValidator(_check_name)], Annotated[Secret, AfterValidator(_check_value)]] = (
        Field(default_factory=dict, description="headers to send along; their values are secrets")
    )
    accept_html: bool = Field(
        False, description="true if the receiver itself answers with pages of HTML, as portals and proxies do"
    )


class Webhook(Plugin[Config]):
    """One webhook receiver."""

    parallel: ClassVar[int] = 32
    digest_over: ClassVar[int | None] = None

    def __init__(self) -> None:
        self._patience = Patience()

    @hookimpl
    async def deliver(self, notification: Notification) -> None:
        """POST the notification. The agent retries a rejected one once, as plain text; then it is dead.

        The id is the same in all attempts, also after a restart, so that the receiver can drop repeats.
        """
        answer = await self._post(notification.id, encode(notification))
        self._raise_unless_delivered(judge(answer, accept_html=self.config.accept_html), answer)
        self._patience.renew()

    @hookimpl
    async def check(self) -> None:
        """Send a HEAD request, which delivers nothing.

        Many receivers refuse HEAD, so nearly any status passes. Raises DestinationBroken for one that shows that
        another server answers, HttpFailed without a response.
        """
        answer = await self.context.http.request(
            "HEAD",
            self.config.url.reveal(),
            headers=self._extra_headers(),
            timeout=self.config.timeout * REQUEST_SHARE_OF_TIMEOUT,
        )
        if answer.status // 100 == 3 or answer.status in OTHER_SERVER_STATUSES:
            raise DestinationBroken(judge(answer).reason)

    async def _post(self, message_id: str, body: bytes) -> HttpAnswer:
        now = int(self.context.clock.now().timestamp())
        return await self.context.http.post(
            self.config.url.reveal(),
            headers=self._extra_headers()
            | {"content-type": "application/json"}
            | signature_headers(self.config.secret, message_id, now, body),
            content=body,
            timeout=self.config.timeout * REQUEST_SHARE_OF_TIMEOUT,
            max_body=MAX_ANSWER_BYTES,
            # The status decides: a 2xx counts as delivered even if the response body never ends.
            need_body=False,
        )

    def _extra_headers(self) -> dict[str, str]:
        return {name: value.reveal() for name, value in self.config.headers.items()}

    def _raise_unless_delivered(self, judgement: Judgement, answer: HttpAnswer) -> None:
        verdict, reason = judgement.verdict, judgement.reason
        if verdict is Verdict.MISSING and self._patience.is_over(trio.current_time()):
            raise DestinationBroken(f"{reason} (for more than {PATIENCE_S / 60:.0f} minutes)")
        match verdict:
            case Verdict.MISSING | Verdict.RETRY:
                after = answer.retry_after(self.context.clock.now())
                raise RetryLater(
                    reason, after=PAUSE_OF_A_LIMIT_S if answer.status == 429 and after is None else after
                )
            case Verdict.REJECTED:
                words = answer.words(MAX_REASON_CHARACTERS)
                raise Rejected(f"{reason}: {words}" if words else reason)
            case Verdict.BROKEN:
                raise DestinationBroken(reason)
            case Verdict.GONE:
                raise DestinationGone(reason)
