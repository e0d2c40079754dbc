"""``check`` reports the problems of every nasty config in sentences, and exits with a documented code."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from aintandem_notify.cli.main import commands
from support.nasty import configs


@pytest.mark.parametrize("name", configs.CONFIGS)
def test_every_config_is_judged_in_sentences(tmp_path: Path, name: str) -> None:
    case = configs.CONFIGS[name]
    for file, content in (case.files or {}).items():
        (tmp_path / file).write_bytes(content)
    path = tmp_path / "config.toml"
    path.write_bytes(case.content)
    done = CliRunner().invoke(commands, ["check", str(path)], env=case.environ)
    assert done.exit_code == (0 if case.right else 2), done.output
    assert "Traceback" not in done.output
    assert "canary-0123" not in done.output
    assert not set(done.output) & {"\x1b", "\x9b", "\x00"}
    assert case.right or str(path) in done.output or path.name in done.output
