"""The agent against the simulator, as separate processes."""

import json
import urllib.request
from pathlib import Path

import trio

from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES
from support.agent_process import ended_well, logged, open_agent
from support.configs import write_config

PROJECTS = ("project-123", "project-456")
EVERYTHING = '[plugins.file_log.audit]\npath = "notifications.jsonl"\nevents = ["*", "connection/*"]\n'
WIRE_TYPES = {name for name, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES}


async def post(url: str, **content: object) -> None:
    """Sends a request to the simulator."""
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    await trio.to_thread.run_sync(lambda: urllib.request.urlopen(request, timeout=300).close())


async def test_all_20_types_of_two_projects_arrive_and_a_cut_is_survived(tmp_path: Path) -> None:
    folder = tmp_path / "simulator"
    folder.mkdir()
    async with open_agent(
        "simulate", "--port", "0", "--speed", "100", "--project", "busy", cwd=folder
    ) as simulator:
        url = (await simulator.wait_for_output("http://")).split()[2].rstrip(",")
        config = write_config(tmp_path, url, EVERYTHING, projects=PROJECTS)
        text = config.read_text().replace("canary-0b5f2c7e91d4", "admin123")
        config.write_text(text)
        async with open_agent("run", config, cwd=tmp_path) as agent:
            await logged(tmp_path, 2)  # both are connected
            for project in PROJECTS:
                await post(f"{url}/simulator/all-types", projectId=project)
            lines = await logged(tmp_path, 42)
            while len(delivered := {(line["project"]["id"], line["event"]["type"]) for line in lines}) < 42:
                lines = await logged(tmp_path, len(lines) + 1)
            await post(f"{url}/simulator/faults", fault="drop", projectId="project-123")
            await agent.wait_for_log("connected", times=3)
            await ended_well(agent)
        simulator.terminate()
        assert await simulator.wait() == 0
    kinds = WIRE_TYPES | {"connection_connected"}
    assert delivered == {(project, kind) for project in PROJECTS for kind in kinds}
