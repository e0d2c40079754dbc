"""The published hashes of settings: equal for equal settings, and without a way back to a secret."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from aintandem_notify.plugins.config_loading import LoadedConfig, load
from aintandem_notify.sharing import address_hash_of, configured_destinations, node_name, projects_hash_of

HEAD = """
[orchestrator]
url = "http://localhost:9900"
token = "t"
[[projects]]
id = "a"
[[projects]]
id = "b-*"
"""
HOOK = '[plugins.webhook.ops]\nurl = "https://h.example/x"\nsecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"\n'


def loaded(folder: Path, text: str) -> LoadedConfig:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ={})


def variant(folder: Path, text: str, salt: bytes = b"salt") -> str:
    return configured_destinations(loaded(folder, text).config, {}, salt)["webhook.ops"].variant


@pytest.mark.parametrize(
    ("changed", "is_equal"),
    [
        (HEAD + HOOK, True),
        (HEAD + HOOK + 'events = ["task_failed"]\nseverity = "error"\nprojects = ["a"]', True),
        (HEAD + HOOK + 'rate = "1/s"', False),
        (HEAD + HOOK + 'timeout = "5s"', False),
        (HEAD + HOOK + '[delivery]\nmax_age = "1h"', False),
        (HEAD + HOOK.replace("MDEy", "NDEy"), False),
        (HEAD + HOOK.replace("h.example", "i.example"), False),
    ],
)
def test_a_variant_is_the_hash_of_how_a_delivery_is_made(tmp_path: Path, changed: str, is_equal: bool) -> None:
    assert (variant(tmp_path, HEAD + HOOK) == variant(tmp_path, changed)) is is_equal


@pytest.mark.parametrize(
    ("changed", "is_equal"),
    [
        (HEAD + HOOK + 'rate = "1/s"\ntimeout = "5s"\nevents = ["task_failed"]', True),
        (HEAD + HOOK.replace("MDEy", "NDEy"), False),
        (HEAD + HOOK.replace("h.example", "i.example"), False),
    ],
)
def test_the_location_hash_covers_the_plugins_own_settings(tmp_path: Path, changed: str, is_equal: bool) -> None:
    before, after = (
        address_hash_of(loaded(tmp_path, text).config.instances["webhook.ops"], b"salt")
        for text in (HEAD + HOOK, changed)
    )
    assert (before == after) is is_equal
    assert len(before) == 32


def test_a_variant_depends_on_the_store(tmp_path: Path) -> None:
    assert variant(tmp_path, HEAD + HOOK) != variant(tmp_path, HEAD + HOOK, b"other")
    assert len(variant(tmp_path, HEAD + HOOK)) == 32


def test_destinations_on_this_machine_are_marked(tmp_path: Path) -> None:
    config = loaded(tmp_path, HEAD + HOOK + "[plugins.file_log.audit]\npath = 'x'\n").config
    hashes = configured_destinations(config, {"file_log": True, "webhook": False}, b"salt")
    assert {name: instance.local for name, instance in hashes.items()} == {
        "webhook.ops": False,
        "file_log.audit": True,
    }


def test_the_projects_hash_does_not_depend_on_the_order(tmp_path: Path) -> None:
    first = projects_hash_of(loaded(tmp_path, HEAD + HOOK).config)
    turned = HEAD.replace('"a"', '"x"').replace('"b-*"', '"a"').replace('"x"', '"b-*"\nname = "B"')
    assert projects_hash_of(loaded(tmp_path, turned + HOOK).config) == first
    assert projects_hash_of(loaded(tmp_path, HEAD.replace("b-", "c-") + HOOK).config) != first
    assert projects_hash_of(loaded(tmp_path, HEAD.replace("9900", "9901") + HOOK).config) != first


def test_an_agent_is_named_by_the_config_or_by_host_and_path(tmp_path: Path) -> None:
    assert node_name(loaded(tmp_path, HEAD + HOOK + '[agent]\nname = "night-1"').config) == "night-1"
    place = node_name(loaded(tmp_path, HEAD + HOOK).config)
    assert place.endswith(f":{tmp_path / 'config.toml'}")
    assert len(place) > len(f":{tmp_path / 'config.toml'}")


def test_agents_in_folders_that_differ_in_other_bytes_have_two_names(tmp_path: Path) -> None:
    first, second = (
        node_name(replace(loaded(tmp_path, HEAD).config, source=tmp_path / os.fsdecode(odd) / "c.toml"))
        for odd in (b"caf\xe9", b"caf\xe8")
    )
    assert first != second
    assert first.encode()
