"""The configuration that ``init`` writes has exactly the typed values."""

import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.cli.prompts import parse_selection
from aintandem_notify.init_wizard import (
    PLUGINS,
    Draft,
    DraftInstance,
    first_problem,
    load_draft,
    url_problem,
    write,
)
from aintandem_notify.init_wizard.draft import toml_string

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
)
def test_what_is_written_reads_back_as_what_was_typed(
    url: str, username: str, password: str, token: str, projects: Any, path: str, key: str, stem: str
) -> None:
    instances = [
        DraftInstance("file_log", "audit", {"path": path}),
        DraftInstance("slack", "team", {}, {"webhook_url": key}),
    ]
    draft = Draft(url, username, password, projects, instances, token)
    read = tomllib.loads(draft.text(stem))
    assert without_files(read, draft.secret_files(stem)) == draft.document()
    assert read["orchestrator"].keys() == ({"url", "token"} if token else {"url", "username", "password"})
    assert read["orchestrator"]["token" if token else "password"].keys() == {"file"}
    assert read["plugins"]["slack"]["team"]["webhook_url"].keys() == {"file"}


@pytest.mark.parametrize(
    "instances", [[], [DraftInstance("console", "terminal")], [WEBHOOK]], ids=["none", "one", "two"]
)
def test_its_comments_become_a_config_that_is_right(instances: list[DraftInstance], tmp_path: Path) -> None:
    draft = Draft("simulator", projects=[("project-123", "Sales")], instances=instances)
    assert first_problem(draft, tmp_path / "config.toml") is None
    text = draft.text("config").replace("# notify", "notify").replace("# [[rules]]", "[[rules]]")
    for key in ("name", "events", "when", "[plugins"):
        text = text.replace(f"# {key}", key)
    assert tomllib.loads(text)["rules"][0]["notify"]


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
