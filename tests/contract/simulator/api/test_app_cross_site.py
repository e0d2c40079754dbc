"""A web page of another site cannot change the simulator, with any request and under any host name."""

import pytest
from trio_websocket import ConnectionRejected

from aintandem_notify.simulator import open_simulator
from aintandem_notify.simulator.api.control import CONTROL_CALLS
from aintandem_notify.simulator.api.rest import CALLS
from aintandem_notify.simulator.simulation import Simulator
from support.plain_client import open_socket
from support.simulated import call, login

STATE_CHANGING = [key for key in (*CALLS, *CONTROL_CALLS) if key[0] != "GET"]
FAIL = {"fault": "fail_requests", "count": 1}


@pytest.mark.parametrize(("method", "path"), STATE_CHANGING, ids=lambda value: str(value))
async def test_every_call_that_changes_something_is_refused(simulator: Simulator, method: str, path: str) -> None:
    token = (await login(simulator))["token"]
    before = len(simulator.world.history)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil.example:{simulator.port}"},
        {"Host": f"evil.example:{simulator.port}", "Origin": f"http://evil.example:{simulator.port}"},
    ):
        status, answer = await call(simulator, method, path, {"task": "x"}, token=token, headers=headers)
        assert (status, answer["code"], answer["path"]) == (403, "FORBIDDEN", path)
    assert len(simulator.world.history) == before


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_fault_in_a_form_is_refused(simulator: Simulator, content_type: str | None) -> None:
    headers = {"Content-Type": content_type}
    status, answer = await call(simulator, "POST", "/simulator/faults", FAIL, headers=headers)
    assert status == 415
    assert "application/json" in answer["error"]
    assert (await call(simulator, "GET", "/health"))[0] == 200  # the fault was not set


async def test_the_own_page_and_programs_may(simulator: Simulator) -> None:
    for headers in ({}, {"Origin": f"http://127.0.0.1:{simulator.port}"}, {"Host": "localhost"}):
        assert (await call(simulator, "POST", "/simulator/faults", FAIL, headers=headers))[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
async def test_a_socket_of_another_page_is_refused(simulator: Simulator, origin: str) -> None:
    token = (await login(simulator))["token"]
    url = f"http://127.0.0.1:{simulator.port}/progress/subscribe/project-123?token={token}"
    with pytest.raises(ConnectionRejected) as refused:
        async with open_socket(url, origin=origin):
            pass
    assert refused.value.status_code == 403
    async with open_socket(url, origin=f"http://127.0.0.1:{simulator.port}") as socket:
        assert "connected" in await socket.get_message()


async def test_one_that_listens_on_a_network_goes_by_any_name_but_takes_no_page() -> None:
    async with open_simulator(host="0.0.0.0") as simulator:
        assert (await call(simulator, "GET", "/simulator", headers={"Host": "simulator:9900"}))[0] == 200
        foreign = {"Host": "simulator:9900", "Origin": "https://evil.example"}
        assert (await call(simulator, "POST", "/simulator/faults", FAIL, headers=foreign))[0] == 403
