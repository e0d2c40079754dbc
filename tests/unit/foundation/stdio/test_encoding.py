"""Text and JSON in every encoding: nothing raises, and JSON keeps its values."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify import log
from aintandem_notify.cli.echo import echo, echo_json
from aintandem_notify.foundation.stdio.encoding import ESCAPE, encode, encode_json, is_utf8
from support.nasty import configs

TEXT = "Gr\u00f6\u00dfe \u0416 \U0001f680 \udcff"
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@pytest.mark.parametrize("encoding", configs.ENCODINGS)
@given(text=ANY_TEXT)
def test_every_text_can_be_encoded(encoding: str, text: str) -> None:
    assert encode(text, encoding).decode(encoding) is not None


@pytest.mark.parametrize("encoding", configs.ENCODINGS)
@given(
    value=st.recursive(ANY_TEXT, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner), max_leaves=5)
)
def test_json_keeps_its_values(encoding: str, value: object) -> None:
    content = encode_json(json.dumps(value, ensure_ascii=False), encoding)
    assert json.loads(content.decode("utf-8")) == _joined(value)
    assert is_utf8(encoding) or content.isascii()


def _joined(value: object) -> object:
    """``value`` with pairs of surrogates as the one character that they stand for in JSON."""
    return json.loads(json.dumps(value))


def test_a_text_degrades_to_escapes() -> None:
    assert encode(TEXT, "ascii") == rb"Gr\u00f6\u00dfe \u0416 \ud83d\ude80 \udcff"
    assert encode(TEXT, "cp1252") == b"Gr\xf6\xdfe \\u0416 \\ud83d\\ude80 \\udcff"
    assert encode(TEXT, None) == "Gr\u00f6\u00dfe \u0416 \U0001f680 \\udcff".encode()


@pytest.mark.parametrize("encoding", configs.ENCODINGS)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_the_log_writes_every_line(encoding: str, log_format: log.LogFormat) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    log.configure("info", log_format, stream)
    try:
        log.get_logger("test").info("Gr\u00f6\u00dfe", name=TEXT)
    finally:
        log.configure("info", "json")
    stream.flush()
    line = raw.getvalue()
    if log_format == "json":
        entry = json.loads(line)
        assert (entry["event"], entry["name"].replace("\\udcff", "\udcff")) == ("Gr\u00f6\u00dfe", TEXT)
    else:
        assert "Gr" in line.decode(encoding)


@pytest.mark.parametrize("encoding", configs.ENCODINGS)
def test_commands_print_every_text(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors=ESCAPE))
    echo(TEXT, bold=True)
    echo_json(json.dumps({TEXT: [TEXT]}, ensure_ascii=False))
    sys.stdout.flush()
    first, second = raw.getvalue().splitlines()
    assert first == encode(TEXT.replace("\udcff", "\\udcff"), encoding)
    assert json.loads(second) == {TEXT: [TEXT]}
