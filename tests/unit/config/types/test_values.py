"""Durations, rates, secrets and paths, as written in a config and in Python."""

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from aintandem_notify.config import (
    ConnectionConfig,
    Duration,
    FilePath,
    PluginConfig,
    Rate,
    Secret,
    ValidationContext,
    format_duration,
    parse_duration,
)
from aintandem_notify.config.types.values import MAX_DURATION_S


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    duration: Duration = 1.0
    rate: Rate | None = None
    secret: Secret | None = None
    path: FilePath | None = None


def in_config(folder: Path, environ: dict[str, str] | None = None, **values: object) -> Model:
    return Model.model_validate(values, context={"config": ValidationContext(folder, environ or {})})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("15m", 900), ("2h", 7200), ("1d", 86400), ("0s", 0), ("1.5h", 5400)],
)
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "10 s", "-1s", "1w", "10S", "1e3s", "١s", "1.s", ".5s", "10s\n", "9" * 400 + "s", 10, None],
)
def test_the_error_about_an_invalid_duration_shows_a_valid_one(text: object) -> None:
    with pytest.raises(ValueError, match='not a duration; write it as "500ms"'):
        parse_duration(text)


def test_a_duration_has_an_upper_bound() -> None:
    assert parse_duration("36500d") == MAX_DURATION_S
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("36501d")


@given(st.integers(0, int(MAX_DURATION_S) * 1000))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, abs_tol=1e-6)


@given(st.text())
def test_no_text_breaks_the_reading_of_durations(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) <= MAX_DURATION_S


def test_python_writes_durations_in_seconds_and_a_config_must_not(tmp_path: Path) -> None:
    assert Model(duration=2).duration == 2.0
    assert ConnectionConfig(heartbeat_interval=0.5).heartbeat_interval == 0.5
    assert in_config(tmp_path, duration="2s").duration == 2.0
    for number in (2, 2.5, True):
        with pytest.raises(ValidationError, match="not a duration"):
            in_config(tmp_path, duration=number)


@pytest.mark.parametrize(
    ("text", "count", "seconds", "interval"),
    [("1/s", 1, 1, 1), ("30/m", 30, 60, 2), ("100/h", 100, 3600, 36)],
)
def test_a_rate_counts_in_an_interval(text: str, count: int, seconds: float, interval: float) -> None:
    rate = Rate.parse(text)
    assert (rate.count, rate.seconds, rate.interval) == (count, seconds, interval)


@pytest.mark.parametrize("text", ["", "0/s", "1", "1/d", "-1/s", "1.5/s", "1/ms", "1 / s", 1, None])
def test_the_error_about_an_invalid_rate_shows_a_valid_one(text: object) -> None:
    with pytest.raises(ValueError, match='not a rate; write it as "1/s"'):
        Rate.parse(text)


def test_a_secret_may_be_one_of_systemd_s_credentials(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "slack").write_text("from systemd\n")
    written = {"file": "$CREDENTIALS_DIRECTORY/slack"}
    secret = in_config(tmp_path / "config", {"CREDENTIALS_DIRECTORY": str(credentials)}, secret=written).secret
    assert secret == Secret("from systemd")
    with pytest.raises(ValidationError, match="CREDENTIALS_DIRECTORY is not set; systemd sets it where"):
        in_config(tmp_path, {}, secret=written)


def test_a_secret_comes_inline_from_a_variable_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file\r\n")
    environ = {"TOKEN": "from the variable"}
    for written, value in [
        ("inline text", "inline text"),
        ({"env": "TOKEN"}, "from the variable"),
        ({"file": "token"}, "from the file"),
        ({"file": str(tmp_path / "token")}, "from the file"),
    ]:
        secret = in_config(tmp_path, environ, secret=written).secret
        assert secret is not None
        assert secret.reveal() == value


def test_a_secret_shows_itself_nowhere_and_compares_by_value(tmp_path: Path) -> None:
    model = in_config(tmp_path, secret="correct horse battery")
    assert "horse" not in f"{model} {model!r} {model.secret} {model.secret!r}"
    assert model.secret == Secret("correct horse battery")
    assert model.secret != Secret("another")
    assert hash(model.secret) == hash(Secret("correct horse battery"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"env": "NONE"}, "the environment variable NONE is not set"),
        ({"env": "EMPTY"}, "the environment variable EMPTY is empty"),
        ({"env": "hunter2hunter2"}, "the environment variable is not set"),
        ({"file": "hunter2hunter2"}, r"cannot read the secret's file \(relative to .*\): No such file"),
        ({"file": "/hunter3"}, "cannot read the secret's file /hunter3: No such file"),
        ({"file": "empty"}, r"the secret's file \(relative to .*\) is empty"),
        ({"file": "binary"}, "it is not a file of UTF-8 text"),
        ({"file": "hunter2\0"}, "it is not a file of UTF-8 text"),
        ({"env": "EMPTY", "file": "empty"}, "not a secret; write it as"),
        ({"env": 3}, "not a secret; write it as"),
        (["hunter2hunter2"], "not a secret; write it as"),
        ("", "the secret is empty"),
        (3, "not a secret; write it as"),
    ],
)
def test_the_error_about_a_missing_secret_gives_the_reason_and_not_the_secret(
    tmp_path: Path, written: object, message: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=message) as caught:
        Secret.read(written, ValidationContext(tmp_path, {"EMPTY": ""}))
    assert "hunter2" not in str(caught.value)


def test_a_relative_path_starts_at_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert in_config(tmp_path, path="logs/a.jsonl").path == tmp_path / "logs" / "a.jsonl"
    assert in_config(tmp_path, path="/var/log/a").path == Path("/var/log/a")
    assert in_config(tmp_path, path="~/a").path == Path("/home/somebody/a")
    for junk in ("", 3, "a\0b", ["a"]):
        with pytest.raises(ValidationError, match="not a path"):
            in_config(tmp_path, path=junk)


def test_settings_can_be_made_in_python_without_any_surroundings() -> None:
    settings = PluginConfig(events=("task_faild",), when="nonsense(", timeout=5)
    assert (settings.events, settings.timeout) == (("task_faild",), 5.0)
