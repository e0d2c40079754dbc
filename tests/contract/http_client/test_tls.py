"""Certificates that are trusted, and those that are not."""

from pathlib import Path

import pytest

from aintandem_notify.http_client import HttpClient
from support.http_failures import failure_of, secret_url
from support.http_server import LoopbackServer
from support.tls_server import TLS, tls_server


async def test_an_authority_of_the_operator_is_trusted() -> None:
    async with tls_server() as port, HttpClient(ca_file=TLS / "ca.pem") as http:
        assert (await http.get(f"https://127.0.0.1:{port}/")).body == b"ok"


async def test_an_untrusted_certificate_is_refused(http: HttpClient) -> None:
    async with tls_server() as port:
        failure = await failure_of(http, secret_url(port, "https"))
    assert str(failure).startswith(f"TLS with https://127.0.0.1:{port} failed: certificate verify failed: ")
    assert not failure.maybe_sent


async def test_tls_with_a_server_that_speaks_none(server: LoopbackServer, http: HttpClient) -> None:
    failure = await failure_of(http, secret_url(server.port, "https"))
    assert str(failure).startswith(f"TLS with https://127.0.0.1:{server.port} failed: ")
    assert not failure.maybe_sent


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("no PEM", "no PEM certificate")])
async def test_a_ca_file_that_cannot_be_used(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    async with HttpClient(ca_file=file) as http:
        failure = await failure_of(http, "https://127.0.0.1:1/pathcanary")
    assert str(failure).startswith(f"cannot use the CA file {file}: ")
    assert reason in str(failure)
    assert not failure.maybe_sent
