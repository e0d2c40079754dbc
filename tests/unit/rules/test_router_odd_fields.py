"""Events with any extra fields lead to notifications: nothing in a frame may end the agent."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic.alias_generators import to_camel

from aintandem_notify.domain.events import EVENT_TYPES, WIRE_FAMILIES, Event, field_names, parse_frame
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import advance, run_ref
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.rules import Router
from support.configs import write_config
from support.outbox import NOW

NAMES: Final = sorted(
    {name for model in EVENT_TYPES.values() for name in field_names(model)}
    | {to_camel(name) for model in EVENT_TYPES.values() for name in field_names(model)}
    | {"instance", "name", "title", "id", "key", "wire", "run", "runId", "project", "version", "model_fields"}
)
ODD: Final[tuple[Any, ...]] = ([1], [[]], {"a": 1}, {}, 5, -1, True, 1.5, 1e308, 10**400, "", "x", "\x00", None)
KINDS: Final = sorted(kind for kind, model in EVENT_TYPES.items() if model.family in WIRE_FAMILIES)
PROJECT: Final = Project(id="p", name="p")


@pytest.fixture
def router(tmp_path: Path) -> Router:
    """Sends everything everywhere. New for each test, because the secrets of its config end with the test."""
    log = '[plugins.file_log.audit]\npath = "a.jsonl"\nevents = ["*", "unknown/*"]\n'
    return load(write_config(tmp_path, "http://localhost", log)).router


@pytest.mark.parametrize("kind", [*KINDS, "of_a_later_release"])
def test_any_field_may_hold_anything(router: Router, kind: str) -> None:
    usual = {"type": kind, "taskId": "t", "executionId": "e", "sandboxId": "s", "phaseId": "p"}
    rendered = 0
    for name in NAMES:
        for value in ODD:
            event = parse_frame(json.dumps(usual | {name: value}), "p", NOW)
            if isinstance(event, Event):
                run = advance(None, event) if run_ref(event) else None
                for routed in router.route(event, run, PROJECT, NOW):
                    rendered += bool(routed.notification.model_dump_json(exclude={"previous"}))
    assert rendered
