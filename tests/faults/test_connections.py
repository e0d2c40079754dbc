"""Making connections: odd responses to the login, proxies, and failing name look-ups."""

from base64 import b64encode
from pathlib import Path

import pytest

from support.fault_case import KIND, PROJECT, open_case
from support.forward_proxy import open_forward_proxy
from support.nasty import orchestrator_http
from support.nasty.configs import PROXIES
from support.nasty.process import HOSTS_THAT_HANG

# The only name server of the process.
HANGING_RESOLVER = """\
import socket, time

def getaddrinfo(host, *others, system=socket.getaddrinfo, **options):
    while isinstance(host, str) and host.endswith(".invalid"):
        time.sleep(3600)
    return system(host, *others, **options)

socket.getaddrinfo = getaddrinfo
"""


ODD_REDIRECTS = ["302 to about:blank", "302 to a broken address", "302 to a port that is a word"]


@pytest.mark.parametrize("name", ODD_REDIRECTS)
async def test_a_login_that_is_led_elsewhere_ends_no_agent(name: str, tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        case.raw.rest["POST /api/auth/login"] = orchestrator_http.REDIRECTS[name]
        async with case.agent() as agent:
            await agent.wait_for_log("HTTP 302")
        case.unfinished = set(case.destinations)  # the notice of it may still wait


@pytest.mark.parametrize("name", ODD_REDIRECTS)
async def test_calls_that_are_led_elsewhere_hold_nothing_up(name: str, tmp_path: Path) -> None:
    async with open_case(tmp_path) as case:
        case.configure()
        for path in ("/api/projects", f"/api/projects/{PROJECT}/tasks", "/api/flexy"):
            case.raw.rest[f"GET {path}"] = orchestrator_http.REDIRECTS[name]
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()


@pytest.mark.parametrize("name", ["an umlaut in the user", "a hash and a slash"])
async def test_everything_goes_through_a_proxy_with_an_odd_login(name: str, tmp_path: Path) -> None:
    login = PROXIES[name]
    credentials = b64encode(f"{login.user}:{login.password}".encode()).decode()
    async with open_forward_proxy(f"Basic {credentials}") as proxy, open_case(tmp_path) as case:
        config = case.configure()
        text = config.read_text(encoding="utf-8")
        address = f"http://{login.userinfo}@127.0.0.1:{proxy.port}"
        config.write_text(text.replace("[connection]\n", f'[connection]\nproxy = "{address}"\n'), encoding="utf-8")
        async with case.agent():
            await case.connected()
            await case.fail("t1")
            await case.arrived()
        assert any(target.startswith("CONNECT ") for target in proxy.targets)
        assert f"POST {case.webhook.url}" in proxy.targets


async def test_fifty_names_that_hang_delay_no_other_destination(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING_RESOLVER, encoding="utf-8")
    slow = [
        f'[plugins.webhook.slow{number}]\nevents = ["{KIND}"]\nurl = "http://{host}/"\n'
        for number, host in enumerate(HOSTS_THAT_HANG)
    ]
    async with open_case(tmp_path) as case:
        config = case.configure(*slow, '[delivery]\ndrain_timeout = "0s"\n')
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace("127.0.0.1", "localhost"), encoding="utf-8")
        # Each name has its own look-up, which hangs longer than the test may take.
        async with case.agent(environ={"PYTHONPATH": str(tmp_path)}) as agent:
            await case.connected()
            for number in range(5):
                await case.fail(f"t{number}")
                await case.arrived()
        assert "cannot find the address" not in agent.everything  # they hang, and do not fail
