"""The configuration that ``init`` writes has exactly the typed values."""

import os
import re
import signal
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.cli.prompts import parse_selection
from aintandem_notify.init_wizard import (
    PLUGINS,
    PRESETS,
    Draft,
    DraftInstance,
    Preset,
    first_problem,
    load_draft,
    url_problem,
    write,
)
from aintandem_notify.init_wizard.toml_text import toml_string
from aintandem_notify.plugins.config_loading import load

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TYPED = ANY_TEXT.map(lambda text: "".join(filter(str.isprintable, text)) or "x")
PROJECTS = st.lists(st.tuples(TYPED, ANY_TEXT), min_size=1, max_size=3)
WEBHOOK = DraftInstance(
    "webhook", "ops", secrets={"url": "https://example.org/x", "secret": "whsec_" + "YWJj" * 8}
)


def without_files(value: Any, files: dict[str, str]) -> Any:
    """Returns the document with each ``{ file = … }`` replaced by the file's content."""
    match value:
        case {"file": str(name)}:
            return files[name]
        case dict():
            return {key: without_files(item, files) for key, item in value.items()}
        case list():
            return [without_files(item, files) for item in value]
        case _:
            return value


def write_secrets(draft: Draft, folder: Path) -> None:
    for name, content in draft.secret_files("config").items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


@given(ANY_TEXT)
def test_any_text_is_a_toml_string(text: str) -> None:
    assert tomllib.loads(f"key = {toml_string(text)}") == {"key": text}


@given(
    url=TYPED,
    username=TYPED,
    password=TYPED,
    token=TYPED | st.just(""),
    projects=PROJECTS,
    path=TYPED,
    key=TYPED,
    stem=TYPED,
    preset=st.sampled_from(list(PRESETS.values())),
)
def test_what_is_written_reads_back_as_what_was_typed(
    url: str,
    username: str,
    password: str,
    token: str,
    projects: Any,
    path: str,
    key: str,
    stem: str,
    preset: Preset,
) -> None:
    instances = [
        DraftInstance("file_log", "audit", {"path": path}),
        DraftInstance("slack", "team", {}, {"webhook_url": key}),
    ]
    draft = Draft(url, username, password, projects, instances, token, preset)
    read = tomllib.loads(draft.text(stem))
    assert without_files(read, draft.secret_files(stem)) == draft.document()
    assert read["orchestrator"].keys() == ({"url", "token"} if token else {"url", "username", "password"})
    assert read["orchestrator"]["token" if token else "password"].keys() == {"file"}
    assert read["plugins"]["slack"]["team"]["webhook_url"].keys() == {"file"}


@pytest.mark.parametrize(
    "instances", [[], [DraftInstance("console", "terminal")], [WEBHOOK]], ids=["none", "one", "two"]
)
@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_its_comments_become_a_config_that_is_right(
    instances: list[DraftInstance], preset: Preset, tmp_path: Path
) -> None:
    draft = Draft("simulator", projects=[("project-123", "Sales")], instances=instances, preset=preset)
    path = tmp_path / "config.toml"
    assert first_problem(draft, path) is None
    assert first_problem(replace(draft, preset=PRESETS["night"]), path) is None
    text = re.sub(r"^# (?=\[|[a-z]+ = )", "", draft.text("config"), flags=re.MULTILINE)
    text = re.sub(r'^(url = "http|username|password).*$', "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    write_secrets(draft, tmp_path)
    [rule] = load(path).config.rules
    assert (rule.quiet, rule.settle) == ("night", 120)


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path: Path) -> None:
    def problem(instance: DraftInstance) -> str | None:
        draft = Draft("http://localhost:9900", "admin", "secret", [("*", "")], [instance])
        return first_problem(draft, tmp_path / "config.toml")

    assert problem(DraftInstance("slack", "team", {}, {"webhook_url": "nonsense"})) is not None
    assert problem(DraftInstance("slack", "team", {"channel": "#x"})) is not None
    assert problem(DraftInstance("slack", "team", {"channel": "#x"}, {"bot_token": "xoxb-1"})) is None


def test_the_plugins_that_are_offered_are_there_with_their_keys(tmp_path: Path) -> None:
    catalog = load_draft(Draft("simulator", projects=[("*", "")]), tmp_path / "c.toml").catalog
    for kind, plugin in PLUGINS.items():
        found = catalog.find(kind, tmp_path)
        assert found.delivers
        assert {question.key for question in plugin.questions} <= found.config_model.model_fields.keys()


@pytest.mark.parametrize(
    "url", ["localhost:9900", "", "ftp://x", "http://", "http://admin:x@host", "http://h/?x=1"]
)
def test_an_address_that_is_none(url: str) -> None:
    assert (url_problem(url) or "").startswith(("should ", "the address is empty"))


def test_two_configs_of_one_folder_have_their_own_secrets() -> None:
    draft = Draft("http://localhost:9900", "admin", "secret", [("*", "")], [WEBHOOK])
    assert list(draft.secret_files("config")) == [
        "secrets/password",
        "secrets/webhook.ops.url",
        "secrets/webhook.ops.secret",
    ]
    assert not draft.secret_files("config").keys() & draft.secret_files("night").keys()


@pytest.mark.parametrize(
    ("text", "only", "chosen"),
    [
        ("1", True, ["a"]),
        (" 2, a ,2", True, ["b", "a"]),
        ("3", True, "There is no number 3."),
        ("0", True, "There is no number 0."),
        ("c", True, "There is no c."),
        ("c, a*", False, ["c", "a*"]),
        (" , ", False, "Pick at least one."),
    ],
)
def test_picking(text: str, only: bool, chosen: object) -> None:
    assert parse_selection(text, ["a", "b"], only=only) == chosen


def test_a_ctrl_c_while_it_is_written_comes_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_number: int) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "fsync", interrupted)
    before = signal.getsignal(signal.SIGINT)
    written = write(Draft("http://h", "u", "p"), tmp_path / "config.toml")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    assert sorted(path.name for path in written) == [".gitignore", "config.toml", "password"]
    assert signal.getsignal(signal.SIGINT) is before
