"""The control file: readable for this user only, present while its agent runs, stale without a lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aintandem_notify.control.discovery import (
    AlreadyRunning,
    ControlEndpoint,
    control_file,
    find_endpoint,
    publish_endpoint,
)

HERE = ControlEndpoint(address="http://127.0.0.1:1", token="t" * 43, pid=os.getpid())
HOLD = """
import os, signal, sys
from pathlib import Path
from aintandem_notify.control.discovery import ControlEndpoint, publish_endpoint
endpoint = ControlEndpoint(address="http://127.0.0.1:1", token="t", pid=os.getpid())
with publish_endpoint(Path(sys.argv[1]), endpoint):
    print("held", flush=True)
    signal.pause()
"""


def test_it_is_there_for_as_long_as_the_block(tmp_path: Path) -> None:
    path = tmp_path / "state" / "config.control.json"
    assert find_endpoint(path) is None
    with publish_endpoint(path, HERE):
        assert find_endpoint(path) == HERE
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == []
    assert find_endpoint(path) is None


def test_each_config_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = control_file(tmp_path / "a" / "config.toml"), control_file(tmp_path / "b" / "config.toml")
    assert first != second
    assert first.parent == second.parent == tmp_path / "aintandem-notify"


def test_another_agent_with_the_config_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.control.json"
    with publish_endpoint(path, HERE):
        with pytest.raises(AlreadyRunning), publish_endpoint(path, HERE.model_copy(update={"pid": 1})):
            pass
        assert find_endpoint(path) == HERE


def test_one_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "config.control.json"
    with publish_endpoint(path, HERE):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


def test_one_that_a_killed_agent_left_is_stale_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "config.control.json"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"held\n"
            found = find_endpoint(path)
            assert found is not None
            assert found.pid == agent.pid
        finally:
            agent.kill()  # or the block would wait for it forever
    assert path.exists()
    assert find_endpoint(path) is None
    with publish_endpoint(path, HERE):
        assert find_endpoint(path) == HERE


@pytest.mark.parametrize("text", ["", "{", "null", '{"address": 3}'])
def test_what_is_no_control_file_names_no_agent(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.control.json"
    path.write_text(text)
    assert find_endpoint(path) is None
