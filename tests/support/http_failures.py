"""Requests that fail, and the secrets that their errors must not show."""

import traceback
from typing import Any

import pytest

from aintandem_notify.errors import HttpFailed
from aintandem_notify.http_client import HttpClient

SECRETS = ("usercanary", "passcanary", "pathcanary", "querycanary", "headercanary", "bodycanary")


def secret_url(port: int, scheme: str = "http") -> str:
    """A URL that holds several of the secrets."""
    return f"{scheme}://usercanary:passcanary@127.0.0.1:{port}/pathcanary?token=querycanary"


async def failure_of(http: HttpClient, url: str, **options: Any) -> HttpFailed:
    """The error of the request, after a check that it shows no secret."""
    with pytest.raises(HttpFailed) as caught:
        await http.post(url, **options)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [secret for secret in SECRETS if secret in text]
    return caught.value
