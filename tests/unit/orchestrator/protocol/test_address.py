"""The addresses of the API and of the sockets."""

import pytest

from aintandem_notify.orchestrator.protocol.address import Endpoint, api_bases, endpoint_of, socket_target


@pytest.mark.parametrize(
    ("url", "bases"),
    [
        ("http://localhost:9900", ("http://localhost:9900/api", "http://localhost:9900")),
        ("http://localhost:9900/", ("http://localhost:9900/api", "http://localhost:9900")),
        ("https://example.org/at/api", ("https://example.org/at/api",)),
        ("https://example.org/at", ("https://example.org/at/api", "https://example.org/at")),
    ],
)
def test_the_likelier_base_comes_first(url: str, bases: tuple[str, ...]) -> None:
    assert api_bases(url) == bases


@pytest.mark.parametrize(
    ("url", "endpoint", "authority"),
    [
        ("http://h", Endpoint("h", 80, tls=False), "h"),
        ("https://h", Endpoint("h", 443, tls=True), "h"),
        ("wss://h:80/x", Endpoint("h", 80, tls=True), "h:80"),
        ("http://h:9900", Endpoint("h", 9900, tls=False), "h:9900"),
        ("http://user:pw@h:81", Endpoint("h", 81, tls=False), "h:81"),
        (
            "https://bücher.example:9900/x",
            Endpoint("xn--bcher-kva.example", 9900, tls=True),
            "xn--bcher-kva.example:9900",
        ),
        ("http://[::1]:9900", Endpoint("::1", 9900, tls=False), "[::1]:9900"),
    ],
)
def test_endpoints(url: str, endpoint: Endpoint, authority: str) -> None:
    assert endpoint_of(url) == endpoint
    assert endpoint.authority == authority


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(ValueError, match="no host"):
        endpoint_of("http:///path")


def test_a_socket_target_quotes_the_id_and_the_token() -> None:
    target = socket_target("https://example.org/at/api", "sales/west?", "a+b&c")
    assert target.endpoint == Endpoint("example.org", 443, tls=True)
    assert target.resource == "/at/api/progress/subscribe/sales%2Fwest%3F?token=a%2Bb%26c"


def test_a_bare_base_has_a_bare_socket() -> None:
    assert socket_target("http://h:9900", "p", "t").resource == "/progress/subscribe/p?token=t"


def test_a_target_does_not_show_its_token() -> None:
    assert "canary" not in repr(socket_target("http://h", "p", "canary"))
