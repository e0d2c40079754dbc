"""Reads a scenario file: TOML to ``Scenario``, or a ConfigError with every problem of the file."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aintandem_notify.config import Config
from aintandem_notify.config.load import line_finder, parse, read_text, to_problems
from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins.discovery.catalog import Catalog
from aintandem_notify.scenarios.moments import MONDAY, moment_of
from aintandem_notify.scenarios.reading.file_context import FileContext
from aintandem_notify.scenarios.reading.steps import StepReader
from aintandem_notify.scenarios.reading.tables import FileTable
from aintandem_notify.scenarios.scenario import Expectation, Scenario, Step


def read_scenario(path: Path, catalog: Catalog) -> Scenario:
    """The scenario in the file. Raises ConfigError with all its problems, or with those of its config."""
    text = read_text(path)
    document = parse(text, path)
    context = FileContext(path, catalog, line_finder(text))
    file = _read_top(document, context)
    scenario = None if file is None else _scenario(file, context)
    if scenario is None or context.findings:
        raise ConfigError(to_problems(context.findings, text), str(path))
    return scenario


def _read_top(document: Mapping[str, Any], context: FileContext) -> FileTable | None:
    """The top of the file without its wrong keys, so that the problems of the others are found, too."""
    file = context.validate(FileTable, document, ())
    wrong = {finding.place[0] for finding in context.findings}
    if file is not None or "config" in wrong:
        return file
    return context.validate(FileTable, {key: value for key, value in document.items() if key not in wrong}, ())


def _scenario(file: FileTable, context: FileContext) -> Scenario | None:
    """The scenario, which may have findings; None if there is no config."""
    config = context.first_config(file.config)
    if config is None:
        return None
    zone = file.tz or _zone_of(config)
    start = _start(file.start, zone, context)
    reader = StepReader(context, config, zone, start)
    results = [result for index, raw in enumerate(file.steps) for result in reader.read(raw, ("steps", index))]
    for index, raw in enumerate(file.expect):
        results += reader.expectation(raw, ("expect", index), {})
    return Scenario(
        name=file.name or context.path.stem.replace("-", " "),
        source=context.path,
        zone=zone,
        start=start,
        config=config,
        steps=tuple(result for result in results if isinstance(result, Step)),
        expectations=tuple(result for result in results if isinstance(result, Expectation)),
    )


def _start(raw: str | datetime | None, zone: ZoneInfo, context: FileContext) -> datetime:
    if raw is None:
        return MONDAY.replace(tzinfo=zone).astimezone(UTC)
    try:
        return moment_of(raw, zone)
    except ValueError:
        context.report(("start",), 'should be a date and a time, as "2026-03-02 22:00"')
        return MONDAY.replace(tzinfo=UTC)


def _zone_of(config: Config) -> ZoneInfo:
    """The time zone of the quiet hours, if they agree; else UTC."""
    zones = {hours.tz.key: hours.tz for hours in config.quiet.values()}
    return next(iter(zones.values())) if len(zones) == 1 else ZoneInfo("UTC")
