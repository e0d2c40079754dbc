"""A file that a config names may be a pipe: it is read if a process writes to it, with a time limit."""

import os
import sys
import threading
from pathlib import Path

import pytest

from aintandem_notify.config.types import files
from aintandem_notify.errors import ConfigError
from support.config_texts import load_text

TEXT = '[orchestrator]\nurl = "http://localhost:9900"\ntoken = { file = "token" }\n[[projects]]\nid = "p"\n'

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "token")
    return tmp_path / "token"


def test_a_pipe_without_a_writer_is_an_error(tmp_path: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIPE_TIMEOUT_S", 0.0)
    with pytest.raises(ConfigError, match="nobody writes into it"):
        load_text(tmp_path, TEXT)


def test_a_pipe_that_somebody_writes_into_is_read(
    tmp_path: Path, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIPE_TIMEOUT_S", 600.0)
    writing = threading.Thread(target=pipe.write_bytes, args=(b"canary0123\n",))
    writing.start()
    config = load_text(tmp_path, TEXT)
    writing.join()
    assert config.orchestrator.token is not None
    assert config.orchestrator.token.reveal() == "canary0123"


def test_a_pipe_is_no_file_of_authorities(tmp_path: Path, pipe: Path) -> None:
    text = TEXT.replace('{ file = "token" }', '"canary0123"') + '[connection]\nca_file = "token"\n'
    with pytest.raises(ConfigError, match="it is no regular file"):
        load_text(tmp_path, text)
