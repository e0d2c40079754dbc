"""No error contains the value of a secret, however broken the config is."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aintandem_notify.errors import ConfigError
from support.config_texts import load_text

# Every place for a secret, one on each line; SECRET is replaced by a different one in each line. They have three
# characters: longer ones are redacted in every text once they are read, which would hide a leak here.
LINES = [
    "[orchestrator]",
    'url = "http://user:SECRET@host"',
    'username = "SECRET"',
    'password = "SECRET"',
    'token = "SECRET"',
    "[[projects]]",
    'id = "p"',
    "[plugins.slack.team]",
    'webhook_url = "SECRET"',
    'bot_token = "SECRET"',
    'channel = "SECRETSECRET"',
    'targets = ["SECRET"]',
    "[plugins.slack.other]",
    'bot_token = { file = "SECRET" }',
    'webhook_url = { env = "xSECRET" }',
    "[plugins.file_log.audit]",
    'path = "x"',
    "[connection]",
    'proxy = "http://u:SECRET@proxy"',
    "[store]",
    'url = "postgresql://u:SECRET@db/x"',
    "[agent]",
    'heartbeat_url = "SECRET"',
    "[log]",
    'level = "SECRET"',
]

VALUES = [
    "3",
    '["SECRET"]',
    '[["SECRET"]]',
    '{ inline = "SECRET" }',
    '{ env = "lower-SECRET" }',
    '{ env = ["SECRET"] }',
    '{ file = "SECRET" }',
    '{ file = { name = "SECRET" } }',
    "'''\nSECRET\n'''",
    '"ftp://SECRET"',
]
"""Replacements for a text that are valid TOML."""

SYNTAX = [
    ('"SECRET"', "SECRET"),
    ('"SECRET"', '"SECRET'),
    (" = ", " "),
    (" = ", " = = "),
    ("]", ""),
    ("[", "[["),
]
"""Replacements that are invalid TOML and so hide all other mistakes."""

HEADERS = [
    "[plugins.slack]",
    "[plugins.zebra.team]",
    "[plugins.file_log.team]",
    "[conection]",
    "[[connection]]",
    "[log.x]",
]


@st.composite
def misspelt(draw: st.DrawFn, line: str) -> str:
    """The line with a mistake, still valid TOML."""
    if line.startswith("["):
        return draw(st.sampled_from([line, *HEADERS]))
    key, _, value = line.partition(" = ")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(key) - 1))
        return f"{draw(st.sampled_from([key[:at] + key[at + 1 :] + 'x', f'x{key}', f'{key}.{key}']))} = {value}"
    return f"{key} = {draw(st.sampled_from(VALUES))}"


@st.composite
def broken_configs(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A config with mistakes, and the secrets in it."""
    wrong = draw(st.sets(st.integers(0, len(LINES) - 1), min_size=1, max_size=8))
    lines = [draw(misspelt(line)) if number in wrong else line for number, line in enumerate(LINES)]
    if draw(st.integers(0, 9)) == 0:
        at, (old, new) = draw(st.integers(0, len(lines) - 1)), draw(st.sampled_from(SYNTAX))
        lines[at] = lines[at].replace(old, new)
    secrets = [f"ǂ{chr(0x13A0 + number)}☂" for number in range(len(lines))]
    return "\n".join(line.replace("SECRET", secret) for line, secret in zip(lines, secrets, strict=True)), secrets


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(broken_configs())
def test_no_error_holds_a_secret(tmp_path: Path, broken: tuple[str, list[str]]) -> None:
    text, secrets = broken
    with pytest.raises(ConfigError) as caught:  # always: the URL has a login, and there is also a token
        load_text(tmp_path, text)
    error = caught.value
    shown = f"{error} {error!r} {error.problems} {error.__cause__!r}"
    if not error.__suppress_context__:
        shown += repr(error.__context__)
    assert error.problems
    assert [secret for secret in secrets if secret in shown] == []
