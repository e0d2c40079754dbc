"""A file that a config names may be a pipe: it is read if a process writes to it, with a time limit."""

import os
import sys
import threading
from pathlib import Path

import pytest

from aintandem_notify.config.types.files import read_bounded
from aintandem_notify.errors import ConfigError
from support.config_texts import load_text

TEXT = '[orchestrator]\nurl = "http://localhost:9900"\ntoken = { file = "token" }\n[[projects]]\nid = "p"\n'

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "token")
    return tmp_path / "token"


def test_a_pipe_without_a_writer_is_an_error(pipe: Path) -> None:
    with pytest.raises(TimeoutError, match="nobody writes into it"):
        read_bounded(pipe, 100, pipe_timeout_s=0.0)


def test_a_pipe_that_somebody_writes_into_is_read(pipe: Path) -> None:
    writing = threading.Thread(target=pipe.write_bytes, args=(b"canary0123\n",))
    writing.start()
    content = read_bounded(pipe, 100, pipe_timeout_s=600.0)
    writing.join()
    assert content == b"canary0123\n"


def test_a_pipe_is_no_file_of_authorities(tmp_path: Path, pipe: Path) -> None:
    text = TEXT.replace('{ file = "token" }', '"canary0123"') + '[connection]\nca_file = "token"\n'
    with pytest.raises(ConfigError, match="it is no regular file"):
        load_text(tmp_path, text)
