"""Proxies with logins, hosts reached without a proxy, and the messages about invalid entries."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.config import Outbound
from aintandem_notify.config.types.outbound import Proxy, ProxyExemption, ascii_host
from aintandem_notify.errors import ConfigError
from aintandem_notify.orchestrator.protocol.address import endpoint_of
from support.config_texts import MINIMAL, load_text
from support.nasty.configs import BROKEN_PROXIES, PROXIES, ProxyCase

ENCODED = {"#": "%23", "/": "%2F", "?": "%3F", "@": "%40", ":": "%3A", "%": "%25", " ": "%20"}


@pytest.mark.parametrize(
    ("login", "credentials"),
    [
        ("m%C3%BCller:x", "müller:x".encode()),
        ("müller:x", "müller:x".encode()),
        ("u:a%23b%2Fc%3Fd%40e%3Af", b"u:a#b/c?d@e:f"),
        ("u%40corp:x", b"u@corp:x"),
        ("u:%F0%9F%94%91", "u:🔑".encode()),
        ("u:a:b", b"u:a:b"),
        ("u:100%25", b"u:100%"),
        ("u", b"u:"),
        (":x", b":x"),
    ],
)
def test_a_login(login: str, credentials: bytes) -> None:
    proxy = Proxy.parse(f"http://{login}@proxy.example:3128")
    assert proxy == Proxy("proxy.example", 3128, tls=False, credentials=credentials)
    assert proxy.authorization == f"Basic {base64.b64encode(credentials).decode()}"
    assert repr(proxy) == "Proxy(host='proxy.example', port=3128, tls=False)"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cn", "Co", "Cf"))))
def test_any_password_gets_through(password: str) -> None:
    encoded = "".join(ENCODED.get(character, character) for character in password)
    assert Proxy.parse(f"http://u:{encoded}@proxy.example").credentials == f"u:{password}".encode()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example", Proxy("proxy.example", 80, tls=False)),
        ("https://proxy.example/", Proxy("proxy.example", 443, tls=True)),
        ("http://127.0.0.1:3128", Proxy("127.0.0.1", 3128, tls=False)),
        ("http://[::1]:3128", Proxy("::1", 3128, tls=False)),
        ("http://bücher.example:1", Proxy("xn--bcher-kva.example", 1, tls=False)),
    ],
)
def test_a_place(url: str, proxy: Proxy) -> None:
    assert Proxy.parse(url) == proxy


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://canary@proxy:1",
        "canary",
        "proxy.example:3128",
        "http://",
        "http://u:canary#x@proxy:3128",
        "http://u:1#canary@proxy:3128",
        "http://u:canary/x@proxy:3128",
        "http://u:1/canary@proxy:3128",
        "http://u:1?canary@proxy:3128",
        "http://u:canary@proxy:3128/path",
        "http://u:canary@proxy:3128?query",
        "http://u:canary@proxy:3128#fragment",
        "http://u:canary@proxy:0",
        "http://u:canary@proxy:65536",
        "http://u:canary@pro xy:3128",
        "http://u:canary@pro..xy:3128",
        "http://u:canary@pro%20xy:3128",
        f"http://u:canary@{'a' * 64}:3128",
        "http://u:canary@[::1:3128",
        "http://u:canary@\\nproxy:3128",
        "http://u:canary\\tx@proxy:3128",
        "http://u:canary%@proxy:3128",
        "http://u:canary%2@proxy:3128",
        "http://u:canary%0d%0aX@proxy:3128",
        "http://u%00:canary@proxy:3128",
        "http://m%FCller:canary@proxy:3128",
    ],
)
def test_values_that_run_could_not_use_are_refused_with_their_line(proxy: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f'{MINIMAL}[connection]\nproxy = "{proxy}"')
    (problem,) = caught.value.problems
    assert problem.key == "connection.proxy"
    assert problem.line == MINIMAL.count("\n") + 2
    assert "canary" not in str(caught.value)
    assert "should " in problem.message


@pytest.mark.parametrize("proxy", ["http://u:a#b@proxy", "http://u:1/b@proxy:1", "http://u:a@b?c@proxy"])
def test_the_error_shows_how_to_write_a_login(proxy: str) -> None:
    with pytest.raises(ValueError, match="in its login, write # as %23, / as %2F"):
        Proxy.parse(proxy)


@pytest.mark.parametrize("case", PROXIES.values(), ids=PROXIES)
def test_odd_logins(case: ProxyCase) -> None:
    credentials = f"{case.user}:{case.password}".encode()
    assert Proxy.parse(f"http://{case.userinfo}@proxy:3128").credentials == credentials


@pytest.mark.parametrize("name", BROKEN_PROXIES)
def test_broken_proxies(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"connection\.proxy: ") as caught:
        load_text(tmp_path, f'{MINIMAL}[connection]\nproxy = "{BROKEN_PROXIES[name]}"')
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a..b/", "http://host:0/", f"http://{'a' * 64}/", "http://%41/"])
def test_an_orchestrator_that_could_not_be_looked_up_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"orchestrator\.url: should begin with http"):
        load_text(tmp_path, MINIMAL.replace("simulator", url))


def test_sockets_find_the_host_that_requests_find() -> None:
    assert endpoint_of("http://faß.example").host == ascii_host("faß.example") == "xn--fa-hia.example"


@pytest.mark.parametrize(
    ("entry", "direct", "proxied"),
    [
        ("*", ["a:1", "127.0.0.1:80", "::1:443"], []),
        (
            "hooks.example",
            ["hooks.example:1", "a.hooks.example:1", "HOOKS.example.:1"],
            ["myhooks.example:443"],
        ),
        ("Hooks.Example.", ["hooks.example:443"], ["hooks.example.org:443"]),
        (".hooks.example", ["a.hooks.example:443"], ["hooks.example:443"]),
        ("*.hooks.example", ["a.b.hooks.example:443"], ["hooks.example:443"]),
        ("hooks.example:8080", ["hooks.example:8080", "a.hooks.example:8080"], ["hooks.example:443"]),
        ("bücher.example", ["xn--bcher-kva.example:1"], ["bucher.example:1"]),
        ("localhost", ["localhost:9900"], ["127.0.0.1:9900"]),
        ("10.1.2.3", ["10.1.2.3:80"], ["10.1.2.4:80", "10.1.2.3.example:80"]),
        ("10.1.2.3:81", ["10.1.2.3:81"], ["10.1.2.3:80"]),
        ("10.0.0.0/8", ["10.255.0.1:1"], ["11.0.0.1:1", "hooks.example:1"]),
        ("::1", ["::1:80"], ["::2:80"]),
        ("[::1]:81", ["::1:81"], ["::1:80"]),
        ("fd00::/8", ["fd12::1:80"], ["fe80::1:80", "10.0.0.1:80"]),
        ("0.0.0.0/0", ["10.0.0.1:80"], ["::1:80"]),
    ],
)
def test_hosts_without_the_proxy(entry: str, direct: list[str], proxied: list[str]) -> None:
    outbound = Outbound.parse("http://proxy.example:3128", [entry])

    def is_direct(place: str) -> bool:
        host, _, port = place.rpartition(":")
        return outbound.proxy_for(host, int(port)) is None

    assert [place for place in (*direct, *proxied) if is_direct(place)] == direct


def test_without_an_entry_everything_goes_through_the_proxy() -> None:
    outbound = Outbound.parse("http://proxy.example:3128")
    assert outbound.proxy_for("localhost", 80) == outbound.proxy_for("127.0.0.1", 80) == outbound.proxy


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('no_proxy = "localhost"', "no_proxy: "),
        ('no_proxy = [""]', "no_proxy"),
        ('no_proxy = ["a, b"]', '"a, b" should be a host'),
        ('no_proxy = ["http://a"]', '"http://a" should be an address or a range'),
        ('no_proxy = ["a:0"]', '"a:0" should be a host'),
        ('no_proxy = ["a:99999"]', '"a:99999" should be a host'),
        ('no_proxy = ["a..b"]', '"a..b" should be a host'),
        ('no_proxy = ["a*b"]', '"a*b" should be a host'),
        ('no_proxy = ["a\\u001bb"]', "the entry should be a host"),
        ('no_proxy = ["10.0.0.1/8"]', 'names an address within a range; the range is "10.0.0.0/8"'),
        ('allow_addresses = ["100.100.0.0/33"]', '"100.100.0.0/33" should be an address or a range of them'),
        ('allow_addresses = ["100.100.1.0/16"]', 'the range is "100.100.0.0/16"'),
        ('allow_addresses = ["metadata.example"]', '"metadata.example" should be an address'),
        ('allow_addresses = [""]', "allow_addresses"),
        ("allow_addresses = [100]", "allow_addresses"),
    ],
)
def test_entries_that_cannot_be_used(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, f"{MINIMAL}[connection]\n{line}")
    assert message in str(caught.value)
    assert caught.value.problems[0].line == MINIMAL.count("\n") + 2


@given(st.text(max_size=20))
def test_an_entry_is_an_exemption_or_a_sentence(entry: str) -> None:
    try:
        exemption = ProxyExemption.parse(entry)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017  # any other is a text of the library's
    else:
        exemption.matches("hooks.example", 443)


@given(st.text(max_size=30))
def test_a_proxy_is_one_or_a_sentence(text: str) -> None:
    for url in (text, f"http://{text}", f"http://u:p@{text}", f"http://{text}@proxy.example"):
        try:
            Proxy.parse(url)
        except ValueError as error:
            assert str(error).startswith("should ")  # noqa: PT017
