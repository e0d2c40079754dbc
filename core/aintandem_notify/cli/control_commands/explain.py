"""``aintandem-notify explain``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from aintandem_notify.cli.control_options import (
    DEFAULT_CONFIG,
    json_option,
    names_argument,
    now,
    parse_time_option,
    show_json,
    show_table,
)
from aintandem_notify.cli.echo import echo
from aintandem_notify.cli.options import terminal_width

if TYPE_CHECKING:
    from aintandem_notify.control.explain.schemas import EventExplanation, ExplanationResponse

MAX_FILE_BYTES: Final = 60_000
"""The largest file with an event; the control API takes no larger body."""
_STDIN: Final = "-"


@click.command(
    short_help="Say why somebody was told of an event, or was not.",
    epilog="Example:  aintandem-notify explain config.toml ntf_019c8a2f3be0",
)
@names_argument("[CONFIG] [ID|FILE]")
@click.option("--event", "event_type", metavar="TYPE", help="Make up an event of this type, as task_failed.")
@click.option("--project", metavar="NAME", help="Its project: id or name; by default one of the config.")
@click.option("--task", metavar="NAME", help="The name of its task.")
@click.option("--workflow", metavar="ID", help="The id of its workflow.")
@click.option("--sandbox", metavar="ID", help="The id of its sandbox.")
@click.option("--duration", metavar="DURATION", help='How long its run has run, as "20m"; by default 42 seconds.')
@click.option(
    "--field",
    "fields",
    metavar="NAME=VALUE",
    multiple=True,
    help="Another field of it; may be given several times.",
)
@click.option(
    "--at", metavar="TIME", help='When it would happen: "23:30" today, or "2026-03-01T23:30"; by default now.'
)
@click.option("--as-written", is_flag=True, help="By the rules in the file, not those of the running agent.")
@json_option
def explain(
    arguments: tuple[str, ...],
    event_type: str | None,
    project: str | None,
    task: str | None,
    workflow: str | None,
    sandbox: str | None,
    duration: str | None,
    fields: tuple[str, ...],
    at: str | None,
    as_written: bool,
    as_json: bool,
) -> None:
    """Say who was told of an event, when, through which rule, and why others were not.

    ID is that of a notification (ntf_019c8a2f3be0), of a task, workflow execution or sandbox (its newest events),
    or the number of a delivery. With FILE (- is standard input), a JSON object as tail --json prints it, or
    with --event, nothing is stored or sent: it says who would be told now, and when.

    Asks the running agent; if none runs, opens its store, and reads CONFIG with its plugins.
    """
    from aintandem_notify.control.client.backend import explain_made_up, open_backend
    from aintandem_notify.control.explain.made_up import MadeUpEvent

    config, reference = _config_and_reference(arguments)
    about = {"task": task, "workflowId": workflow, "sandboxId": sandbox}
    options: dict[str, Any] = {name: value for name, value in about.items() if value is not None}
    moment, duration_s = _moment(at), _seconds(duration)
    if (reference is None) == (event_type is None):
        raise click.UsageError("Name an ID or a FILE to explain, or else make up an event with --event.")
    if event_type is not None:
        made_up = MadeUpEvent({"type": event_type} | options | _fields(fields), True, project, moment, duration_s)
        response = explain_made_up(config, made_up, as_written=as_written)
    elif reference == _STDIN or os.path.isfile(reference or ""):  # noqa: PTH113  # Path.is_file raises for a long name
        fields_of_file = _from_file(reference or "")
        made_up = MadeUpEvent(fields_of_file | options | _fields(fields), False, project, moment, duration_s)
        response = explain_made_up(config, made_up, as_written=as_written)
    else:
        assert reference is not None  # noqa: S101  # one of the two is given
        if options or fields or project or at or duration or as_written:
            raise click.UsageError(
                "Only an event that has not happened takes these options: add --event, or name a FILE."
            )
        with open_backend(config) as backend:
            response = backend.explain(reference)
    if as_json:
        show_json(response)
    else:
        _show(response)


def _config_and_reference(arguments: Sequence[str]) -> tuple[Path, str | None]:
    """The config is the argument that ends in .toml, or the first of two that is a file."""
    names = list(arguments)
    config = next((name for name in names if name.endswith(".toml")), None)
    if config is None and len(names) > 1:
        config = next((name for name in names if os.path.isfile(name)), None)  # noqa: PTH113
    if config is not None:
        names.remove(config)
    if len(names) > 1:
        raise click.UsageError("One ID or FILE at a time.")
    return Path(config or DEFAULT_CONFIG), names[0] if names else None


def _fields(texts: Sequence[str]) -> dict[str, Any]:
    """The fields of ``NAME=VALUE``: a value is JSON, or else a text."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f'{text!r} has no =; write as error="disk full"', param_hint="--field")
        try:
            fields[name] = json.loads(value)
        except (ValueError, RecursionError):
            fields[name] = value
    return fields


def _moment(at: str | None) -> datetime | None:
    try:
        of_day = time.fromisoformat(at or "")
    except ValueError:
        moment = parse_time_option(at, "--at")
        return None if moment is None else moment.astimezone(UTC)
    return datetime.combine(now().astimezone().date(), of_day).astimezone(UTC)


def _seconds(duration: str | None) -> float | None:
    from aintandem_notify.config import parse_duration

    try:
        return None if duration is None else parse_duration(duration)
    except (ValueError, OverflowError):
        raise click.BadParameter(f'{duration!r} is no duration; write "20m"', param_hint="--duration") from None


def _from_file(name: str) -> dict[str, Any]:
    """The event in a JSON file; also the one in a notification, as file_log and webhooks have it."""
    from aintandem_notify.foundation.untrusted_json import read_json

    if name == _STDIN:
        content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with open(name, "rb") as file:  # noqa: PTH123  # the name may be anything
            content = file.read(MAX_FILE_BYTES + 1)
    source = "standard input" if name == _STDIN else name
    if len(content) > MAX_FILE_BYTES:
        raise click.UsageError(f"{source} is too large for an event: it has more than {MAX_FILE_BYTES} bytes.")
    try:
        value = read_json(content, replace_invalid=False)
    except ValueError:
        lines = [line for line in content.splitlines() if line.strip()]
        several = "has several lines; keep that of one event" if len(lines) > 1 else "is no JSON"
        raise click.UsageError(f'{source} {several}: {{"type": "task_failed", ...}}') from None
    value = _inner(_inner(value, "data", "event"), "event", "type")
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise click.UsageError(f'{source} has no event: an event is an object, as {{"type": "task_failed", ...}}')
    return value


def _inner(value: Any, name: str, key: str) -> Any:
    """The object ``name`` in ``value`` that has ``key``; ``value`` if there is none."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) and key in inner else value


def _show(response: ExplanationResponse) -> None:
    moment = now()
    for position, event in enumerate(response.events):
        if position:
            echo()
        _show_event(event, moment, is_first=position == 0)
    if response.more:
        echo()
        echo("the run has earlier events, too", dim=True)
    if response.trouble is not None:
        echo()
        echo(response.trouble, err=True)


def _show_event(event: EventExplanation, moment: datetime, *, is_first: bool) -> None:
    from aintandem_notify.cli import explanation
    from aintandem_notify.cli.tables import hanging_lines

    echo(event.title, bold=True)
    echo(explanation.heading(event, moment), dim=True)
    for sentence in explanation.sentences(event, moment):
        for line in hanging_lines("", sentence, terminal_width()):
            echo(line)
    if event.key is not None:
        show_table("Notifications", explanation.FATE_COLUMNS, explanation.fate_rows(event, moment))
    else:
        show_table("Stages", explanation.STAGE_COLUMNS, explanation.stage_rows(event, moment))
    if is_first:
        show_table("Rules, as they are now", explanation.RULE_COLUMNS, explanation.rule_rows(event))
    if event.tells:
        rows = [(told.key, told.rule, told.run or "-", told.project or "-") for told in event.tells]
        show_table(
            f"It tells {event.tells_count} events" + (", among them" if event.tells_count > len(rows) else ""),
            ("event", "rule", "run", "project"),
            rows,
        )
