"""Requests that a web page may not send to a server on loopback: every cell of host, origin and body type."""

import pytest

from aintandem_notify.foundation.http_server.cross_site import has_json_body, is_cross_site_write, is_loopback_host

HERE = "127.0.0.1:9900"


@pytest.mark.parametrize("host", ["127.0.0.1", HERE, "localhost:1", "LOCALHOST", "[::1]:1", "127.8.9.1"])
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback_host(host)


ELSEWHERE = """
evil.example 127.0.0.1.evil.example localhost.evil.example 10.0.0.1 0.0.0.0 [::1 [::] 127.0.0.1@evil.example
localhost. 127.1 2130706433 0x7f000001 loc\u0430lhost
"""


@pytest.mark.parametrize("host", ["", *ELSEWHERE.split()])
def test_names_that_somebody_else_may_give_away(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT"])
@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": f"http://{HERE}"}, False),
        ({"origin": f"http://{HERE}", "sec-fetch-site": "same-origin"}, False),
        ({"origin": "http://localhost:9900"}, True),
        ({"origin": f"https://{HERE}"}, True),
        ({"origin": "http://127.0.0.1:3000"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "none"}, False),
    ],
)
def test_other_sites_change_nothing(method: str, headers: dict[str, str], foreign: bool) -> None:
    assert is_cross_site_write(method, headers | {"host": HERE}) is foreign
    assert not is_cross_site_write("GET", headers | {"host": HERE})


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({}, True),
        ({"content-length": "0"}, True),
        ({"content-length": "0", "content-type": "text/plain"}, True),
        ({"content-length": "2"}, False),
        ({"transfer-encoding": "chunked"}, False),
        ({"content-length": "0", "transfer-encoding": "chunked"}, False),
        ({"content-length": "2", "content-type": "text/plain"}, False),
        ({"content-length": "2", "content-type": "text/plain; application/json"}, False),
        ({"content-length": "2", "content-type": "application/x-www-form-urlencoded"}, False),
        ({"content-length": "2", "content-type": "multipart/form-data"}, False),
        ({"content-length": "2", "content-type": "application/json"}, True),
        ({"content-length": "2", "content-type": "Application/JSON; charset=utf-8"}, True),
    ],
)
def test_the_type_of_a_body_is_json(headers: dict[str, str], fine: bool) -> None:
    assert has_json_body(headers) is fine
