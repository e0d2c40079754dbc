"""Characters that shells and editors add to a secret: they are removed, or a warning names them."""

import os
from pathlib import Path

import pytest

from aintandem_notify.config.secret_warnings import secret_warnings
from aintandem_notify.errors import ConfigError
from support.config_texts import load_text
from support.nasty import configs

HEAD = '[orchestrator]\nurl = "http://localhost:9900"\ntoken = {source}\n[[projects]]\nid = "p"\n'
VARIABLE = HEAD.format(source='{ env = "CANARY_TOKEN" }')
FILE = HEAD.format(source='{ file = "token" }')

MEANT = {
    "a trailing line break": "canary0123",
    "a line break of windows": "canary0123",
    "two line breaks": "canary0123",
    "a byte order mark": "canary0123",
}
"""The secrets that result; the others stay as they are and have a warning."""


@pytest.mark.parametrize("written", ["variable", "file"])
@pytest.mark.parametrize("name", configs.PADDED)
def test_characters_around_a_secret(tmp_path: Path, name: str, written: str) -> None:
    padded = configs.PADDED[name]
    (tmp_path / "token").write_text(padded, encoding="utf-8", newline="")
    text = VARIABLE if written == "variable" else FILE
    config = load_text(tmp_path, text, environ={"CANARY_TOKEN": padded})

    assert config.orchestrator.token is not None
    assert config.orchestrator.token.reveal() == MEANT.get(name, padded.rstrip("\n"))
    warnings = secret_warnings(config)
    assert len(warnings) == (name not in MEANT)
    assert all(
        warning.startswith("orchestrator.token: the ") and "canary0123" not in warning for warning in warnings
    )
    where = "environment variable CANARY_TOKEN" if written == "variable" else "secret's file"
    assert all(where in warning for warning in warnings)


REFUSED = {
    "empty": "is empty",
    "only a line break": "is empty",
    "NUL": "contains a NUL character",
    "no utf-8": "it is not a file of UTF-8 text",
    "utf-16": "it is not a file of UTF-8 text",
    "10 MB": "contains more than 65536 characters",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "token").write_bytes(configs.SECRET_FILES[name])
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, FILE)
    assert REFUSED[name] in str(caught.value)
    assert "canary" not in str(caught.value)


def test_every_file_is_one_of_these() -> None:
    assert configs.SECRET_FILES.keys() == configs.PADDED.keys() | REFUSED.keys()


@pytest.mark.parametrize("value", [os.fsdecode(b"can\xffary"), "\ufeff\r\n", "x" * 65_537])
def test_a_variable_that_holds_no_secret_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"the environment variable CANARY_TOKEN (is empty|contains)"):
        load_text(tmp_path, VARIABLE, environ={"CANARY_TOKEN": value})


def test_a_secret_in_the_config_itself_is_meant_as_it_stands(tmp_path: Path) -> None:
    config = load_text(tmp_path, HEAD.format(source='" canary0123 "'))
    assert config.orchestrator.token is not None
    assert config.orchestrator.token.reveal() == " canary0123 "
    assert secret_warnings(config) == []


def test_secrets_of_plugins_are_looked_at_too(tmp_path: Path) -> None:
    text = HEAD.format(source='"x"') + '[plugins.slack.team]\nbot_token = { env = "CANARY_TOKEN" }\n'
    config = load_text(tmp_path, text, environ={"CANARY_TOKEN": "canary0123 "})
    (warnings,) = secret_warnings(config)
    assert warnings.startswith(
        "plugins.slack.team.bot_token: the environment variable CANARY_TOKEN begins or ends with"
    )
