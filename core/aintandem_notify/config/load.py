"""Loads a config file: TOML to ``Config``, or a ConfigError with every problem of the file.

Each table is validated on its own, so that one mistake does not hide the others. For the same reason
``crosschecks`` reads the document as it was written.
"""

import os
import re
import tomllib
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aintandem_notify import log
from aintandem_notify.config import crosschecks
from aintandem_notify.config.findings import Finding, Place, did_you_mean, dotted, toml_type
from aintandem_notify.config.models import (
    NAMED_TABLES,
    OPTIONAL_TABLES,
    TABLE_LISTS,
    TOP_LEVEL_KEYS,
    Config,
    OrchestratorConfig,
    StoreConfig,
    store_location,
)
from aintandem_notify.config.moved_store import NewStore, new_store
from aintandem_notify.config.plugin_tables.catalog import PluginCatalog
from aintandem_notify.config.plugin_tables.reading import read_plugin_tables
from aintandem_notify.config.rule_config import Table
from aintandem_notify.config.types.addresses import SIMULATOR
from aintandem_notify.config.types.files import read_bounded
from aintandem_notify.config.types.values import RuleLanguage, ValidationContext
from aintandem_notify.config.validation import validate
from aintandem_notify.errors import ConfigError, Problem

_log = log.get_logger(__name__)

MAX_CONFIG_BYTES: Final = 16 * 2**20
"""Bytes of a config file; our limit. 300 projects need 10,000; ``/dev/zero`` has no end."""

_SYNTAX_LINE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_DECLARED_TWICE: Final = re.compile(r"Cannot declare (\(.*\)) twice")
MAX_MESSAGE: Final = 500
"""Characters shown of a TOML syntax error; a key in it may have megabytes."""


def load(
    path: Path, *, catalog: PluginCatalog, language: RuleLanguage, environ: Mapping[str, str] = os.environ
) -> Config:
    """The configuration in ``path``; raises ConfigError with all its problems.

    Imports only the plugin types that it names. Reads the secrets that are in files.
    """
    text = read_text(path)
    document = parse(text, path)
    context = ValidationContext(path.absolute().parent, environ, language)
    config, findings = read_document(document, path, context, catalog)
    if config is None:
        raise ConfigError(to_problems(findings, text), str(path))
    return config


@dataclass(frozen=True, slots=True)
class OfflineConfig:
    """The part of a config that commands need while the agent does not run.

    ``store`` is a URL or a file, None if the agent keeps no store after it ends. ``instances`` are the names of
    the plugin instances. ``new_store`` is the store that the next agent creates; None if there is one.
    """

    store: str | Path | None
    instances: tuple[str, ...]
    new_store: NewStore | None = None


def load_offline_config(path: Path, environ: Mapping[str, str] = os.environ) -> OfflineConfig:
    """Read just enough of ``path`` to find the store: imports no plugin, reads no other secret.

    Raises ConfigError if that part is wrong, and StoreError for a user without a home directory.
    """
    text = read_text(path)
    document = parse(text, path)
    context = ValidationContext(path.absolute().parent, environ)
    store, findings = validate(StoreConfig, document.get("store", {}), ("store",), context)
    if store is None:
        raise ConfigError(to_problems(findings, text), str(path))
    orchestrator, plugins = document.get("orchestrator"), document.get("plugins")
    embedded = isinstance(orchestrator, dict) and orchestrator.get("url") == SIMULATOR
    types = plugins.items() if isinstance(plugins, dict) else ()
    names = tuple(f"{kind}.{name}" for kind, tables in types if isinstance(tables, dict) for name in tables)
    location = store_location(path, store, embedded=embedded)
    return OfflineConfig(location, names, new_store(path, store, embedded=embedded))


def read_document(
    document: Mapping[str, Any], source: Path, context: ValidationContext, catalog: PluginCatalog
) -> tuple[Config | None, list[Finding]]:
    """The configuration in a parsed TOML document; None and the findings if it is wrong."""
    findings = _unknown_tables(document)
    tables: dict[str, Any] = {}

    def add(name: str, value: object, table_findings: list[Finding]) -> None:
        tables[name] = value
        findings.extend(table_findings)

    if "orchestrator" in document:
        add(
            "orchestrator",
            *validate(OrchestratorConfig, document["orchestrator"], ("orchestrator",), context),
        )
    for name, model in OPTIONAL_TABLES.items():
        add(name, *validate(model, document.get(name, {}), (name,), context))
    for name, model in TABLE_LISTS.items():
        add(name, *_read_list(model, document.get(name, []), name, context))
    for name, model in NAMED_TABLES.items():
        add(name, *_read_named(model, document.get(name, {}), name, context))
    add("plugins_dir", *_read_plugins_dir(document, context.base_dir))
    plugins = read_plugin_tables(document.get("plugins", {}), context, catalog, tables["plugins_dir"])
    findings += plugins.findings
    findings += crosschecks.check(document, plugins)
    if findings:
        return None, findings
    return Config(source=source, base_dir=context.base_dir, instances=plugins.enabled, **tables), []


def read_text(path: Path) -> str:
    try:
        content = read_bounded(path, MAX_CONFIG_BYTES + 1)
        if len(content) <= MAX_CONFIG_BYTES:
            return content.decode("utf-8-sig")
        problem = Problem(f"is larger than {MAX_CONFIG_BYTES // 2**20} MB, too large for a configuration")
    except OSError as error:
        problem = Problem(f"cannot be read: {error.strerror or type(error).__name__}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem("is not UTF-8 text", line=line)
    raise ConfigError([problem], str(path))


def parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
    except RecursionError:
        message = "Nested too deep"
    except ValueError:  # an integer with more digits than Python converts
        message = "A number has too many digits"
    position = _SYNTAX_LINE.search(message)
    line = int(position[1]) if position and position[1] else text.rstrip().count("\n") + 1 if position else None
    message = _syntax_message(_SYNTAX_LINE.sub("", message))
    hint = "; put a text in quotes" if message == "Invalid value" else ""
    problem = Problem(f"not TOML: {message}{hint}", line=line)
    raise ConfigError([problem], str(path))


def _syntax_message(message: str) -> str:
    """Python's message, redacted, with ``[plugins.slack]`` for its ``('plugins', 'slack')``."""
    if len(message) > MAX_MESSAGE:
        return f"{log.redact_start(message, MAX_MESSAGE)}…"
    if (match := _DECLARED_TWICE.fullmatch(message)) is not None:
        message = f"Cannot declare [{dotted(literal_eval(match[1]))}] twice"
    return log.redact(message)


def locate(findings: Iterable[Finding], source: Path) -> list[Problem]:
    """The findings about the valid config ``source`` with their lines, in file order.

    Without lines if the file cannot be read any more, as a pipe that is empty now.
    """
    findings = list(findings)
    if not findings:
        return []
    try:
        text = read_text(source)
    except ConfigError:
        text = ""
    return to_problems(findings, text)


def to_problems(findings: list[Finding], text: str) -> list[Problem]:
    """The findings with their lines, in file order and without duplicates."""
    find = line_finder(text)
    problems = {
        Problem(log.redact(finding.message), log.redact(finding.key), find(finding.place)): None
        for finding in findings
    }
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.key))


def line_finder(text: str) -> Callable[[Place], int | None]:
    """Returns a function that finds the line of a place; the function returns None if tree-sitter is broken."""
    try:
        from aintandem_notify.config.line_numbers import LineNumbers

        return LineNumbers(text).find
    except Exception as error:  # noqa: BLE001  # tree-sitter's two packages may be incompatible
        _log.warning("the lines of the config cannot be found", error=type(error).__name__)
        return lambda _: None


def _unknown_tables(document: Mapping[str, Any]) -> list[Finding]:
    return [
        Finding(
            (key,),
            f"unknown {'table' if isinstance(value, dict | list) else 'key'}{did_you_mean(key, TOP_LEVEL_KEYS)}",
        )
        for key, value in document.items()
        if key not in TOP_LEVEL_KEYS
    ]


def _read_list(
    model: type[Table], raw: object, name: str, context: ValidationContext
) -> tuple[tuple[Table, ...], list[Finding]]:
    if not isinstance(raw, list):
        return (), [Finding((name,), f"should be a list of tables, not {toml_type(raw)}; write [[{name}]]")]
    results = [validate(model, item, (name, index), context) for index, item in enumerate(raw)]
    return (
        tuple(table for table, _ in results if table is not None),
        [finding for _, table_findings in results for finding in table_findings],
    )


def _read_named(
    model: type[Table], raw: object, name: str, context: ValidationContext
) -> tuple[dict[str, Table], list[Finding]]:
    """The tables ``[quiet.night]`` by their names."""
    if not isinstance(raw, Mapping):
        return {}, [Finding((name,), f"should be a table, not {toml_type(raw)}; write [{name}.NAME]")]
    if raw and not any(isinstance(value, Mapping) for value in raw.values()):
        return {}, [Finding((name,), f"has no name; write [{name}.NAME], where NAME is a name you choose")]
    results = {key: validate(model, item, (name, key), context) for key, item in raw.items()}
    return (
        {key: table for key, (table, _) in results.items() if table is not None},
        [finding for _, findings in results.values() for finding in findings],
    )


def _read_plugins_dir(document: Mapping[str, Any], base_dir: Path) -> tuple[Path, list[Finding]]:
    """The folder of one-file plugins; it must exist only if the config names it."""
    raw = document.get("plugins_dir")
    folder = base_dir / "plugins"
    if raw is None:
        return folder, []
    if not isinstance(raw, str) or not raw or "\0" in raw:
        return folder, [Finding(("plugins_dir",), f"should be a text that names a folder, not {toml_type(raw)}")]
    folder = base_dir / os.path.expanduser(raw)  # noqa: PTH111  # Path.expanduser raises without a home directory
    return folder, [] if folder.is_dir() else [Finding(("plugins_dir",), f"there is no folder {folder}")]
