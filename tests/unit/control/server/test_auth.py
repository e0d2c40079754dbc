"""Authorization: every combination of host, origin and token."""

import pytest

from aintandem_notify.control.server.auth import authorize

TOKEN = "right-token"
WITH_TOKEN = {"authorization": f"Bearer {TOKEN}"}
HERE = {"host": "127.0.0.1:4711"}


def status(method: str = "GET", path: str = "/status", **headers: str) -> int:
    """Returns the status of the response; 200 if the request is allowed."""
    error = authorize(method, path, headers, TOKEN)
    return 200 if error is None else error.status


@pytest.mark.parametrize(
    ("host", "let_in"),
    [
        ("127.0.0.1:4711", True),
        ("127.0.0.1", True),
        ("127.8.9.1:80", True),
        ("localhost:4711", True),
        ("LOCALHOST", True),
        ("[::1]:4711", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:4711", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("[::]", False),
        ("user@127.0.0.1", True),
        ("127.0.0.1@evil.example", False),
        ("[::1", False),
        ("127.0.0.1:port", True),
    ],
)
@pytest.mark.parametrize("path", ["/status", "/healthz"])
def test_only_names_of_this_machine_are_hosts(host: str, let_in: bool, path: str) -> None:
    assert (status(path=path, host=host, **WITH_TOKEN) == 200) is let_in


@pytest.mark.parametrize(
    ("method", "origin", "expected"),
    [
        ("GET", None, 200),
        ("GET", "https://evil.example", 200),
        ("POST", None, 200),
        ("POST", "http://127.0.0.1:4711", 200),
        ("POST", "HTTP://127.0.0.1:4711", 200),
        ("POST", "http://127.0.0.1:3000", 403),
        ("POST", "http://localhost:3000", 403),
        ("POST", "http://127.0.0.1", 403),
        ("POST", "https://127.0.0.1:4711", 403),
        ("POST", "http://[::1]:4711", 403),
        ("POST", "https://evil.example", 403),
        ("POST", "https://127.0.0.1.evil.example", 403),
        ("POST", "null", 403),
        ("POST", "", 403),
        ("POST", "file://", 403),
        ("DELETE", "https://evil.example", 403),
    ],
)
def test_writes_of_other_sites_are_refused(method: str, origin: str | None, expected: int) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert status(method, **HERE, **WITH_TOKEN, **headers) == expected


def test_the_own_origin_is_the_one_under_the_name_that_was_asked() -> None:
    headers = {"host": "localhost:4711"} | WITH_TOKEN
    assert status("POST", origin="http://localhost:4711", **headers) == 200
    assert status("POST", origin="http://127.0.0.1:4711", **headers) == 403


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        ("Bearer right-toke", 401),
        ("Bearer right-token2", 401),
        ("Bearer rïght-token", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
    ],
)
def test_a_token_is_needed_for_all_but_health(given: str | None, expected: int) -> None:
    headers = HERE if given is None else HERE | {"authorization": given}
    assert status(**headers) == expected
    assert status("POST", "/deliveries/retry", **headers) == expected
    assert status(path="/healthz", **headers) == status(path="/readyz", **headers) == 200
