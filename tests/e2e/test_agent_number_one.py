"""The agent as process number 1, as in a container: the kernel ignores signals without a handler for it."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from support.agent_process import open_agent
from support.configs import write_config
from support.number_one import as_number_one, listens_for, number_one_below
from support.raw_orchestrator import open_raw_orchestrator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces are a matter of Linux")


@pytest.mark.parametrize("moment", ["as soon as it can be heard", "while it starts", "at work"])
async def test_a_sigterm_ends_it_whenever_it_comes(moment: str, tmp_path: Path) -> None:
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, "[plugins.console.here]\n")
        shell = f'exec {shlex.join(as_number_one(()))} "$@"'
        async with open_agent("run", config, cwd=tmp_path, shell=shell) as agent:
            pid = await number_one_below(agent.process.pid)
            await listens_for(pid, signal.SIGTERM)
            if moment == "while it starts":
                await agent.wait_for_log("plugin loaded")
            elif moment == "at work":
                await raw.connections.receive()
            os.kill(pid, signal.SIGTERM)
            code = await agent.wait()
        assert "Traceback" not in agent.everything
    # Before there is anything to shut down, it ends at once.
    assert code in ({0, 128 + signal.SIGTERM} if moment == "as soon as it can be heard" else {0})
