"""The output of ``check --json``. Its keys are the same for a right and for a wrong config. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aintandem_notify.config import Config
    from aintandem_notify.diagnostics import CheckResult
    from aintandem_notify.errors import ConfigError, Problem
    from aintandem_notify.rules import Route


def problems_report(error: ConfigError) -> dict[str, Any]:
    """The report about a wrong config: only its problems are known."""
    source = Path(error.source).absolute()
    return _report(source, right=False, problems=_located(error.problems, source))


def valid_report(
    config: Config, routes: Iterable[Route], warnings: Iterable[Problem], results: Sequence[CheckResult] | None
) -> dict[str, Any]:
    """The report about a right config. ``results`` are those of ``--connect``; None without it."""
    source = config.source.absolute()
    return _report(
        source,
        right=True,
        warnings=_located(warnings, source),
        projects=[project.id for project in config.projects],
        plugins=list(config.instances),
        routes=[
            {
                "event": route.event_type,
                "rule": route.rule,
                "destinations": route.destinations,
                "severity": route.severity,
                "projects": route.projects,
                "when": route.when,
            }
            for route in routes
        ],
        connect=None
        if results is None
        else [
            {"name": result.name, "ok": result.is_ok if result.is_tried else None, "detail": result.detail}
            for result in results
        ],
    )


def _report(source: Path, *, right: bool, **parts: object) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "problems": [],
        "warnings": [],
        "projects": [],
        "plugins": [],
        "routes": [],
        "connect": None,
    }
    return {"config": str(source), "right": right, **empty, **parts}


def _located(problems: Iterable[Problem], source: Path) -> list[dict[str, Any]]:
    return [
        {
            "file": str(source),
            "line": problem.line,
            "key": problem.key,
            "sentence": problem.message,
        }
        for problem in problems
    ]


def report_json(report: dict[str, Any]) -> str:
    """The report as JSON in ASCII, so that any encoding of standard output can carry it."""
    return json.dumps(report, indent=2)
