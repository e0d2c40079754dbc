"""Checks across the tables of a config: logins, destinations, unique names, keys without effect.

Reads the document as it was written, so that a mistake elsewhere in a table hides nothing here. Values of the
wrong type are skipped: ``validation`` reports them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from aintandem_notify.config.findings import Finding, Place, did_you_mean, nearest
from aintandem_notify.config.models import ConnectionConfig, OrchestratorConfig
from aintandem_notify.config.plugin_tables.reading import PluginTables
from aintandem_notify.config.rule_config import FIRST_FAILURE, NOBODY, STILL_FAILING, QuietConfig
from aintandem_notify.config.types.addresses import SIMULATOR
from aintandem_notify.config.types.clock_times import WEEKDAYS
from aintandem_notify.config.types.values import parse_duration
from aintandem_notify.config.watch_config import watch_findings

_NEED_EVENTS: Final = ("projects", "when", "severity", "mention")
_FOR_DESTINATIONS_ONLY: Final = (
    "when",
    "severity",
    "mention",
    "rate",
    "max_age",
    "fallback",
    "fallback_after",
    "digest_over",
    "parallel",
    "quiet",
)
_STAGES: Final = (
    *(
        "subject",
        "settle",
        "on",
        "confirm",
        "remind_every",
        "tell_end",
        "held_back_by",
        "hold_at_most",
        "escalate",
    ),
    *("once_per", "cooldown", "group", "throttle", "quiet"),
)
_TEXTS: Final = ("severity", "mention", "title", "body")


def check(document: Mapping[str, Any], plugins: PluginTables) -> list[Finding]:
    """All mistakes between the tables of ``document``."""
    rules = _tables(document.get("rules"))
    return [
        *_login(document),
        *_projects(document),
        *_reconnect_delays(document.get("connection")),
        *_rule_names(rules, plugins),
        *(finding for index, rule in enumerate(rules) for finding in _notify(index, rule, plugins)),
        *_watches(_tables(document.get("watches")), rules, plugins),
        *_fallbacks(plugins),
        *(finding for index, rule in enumerate(rules) for finding in _flips(index, rule)),
        *(finding for index, rule in enumerate(rules) for finding in _escalation(index, rule, plugins)),
        *_causes(rules),
        *_quiet_names(document, rules, plugins),
        *_endless_quiet(document),
        *_keys_of_rules_for_nobody(rules),
        *_keys_without_effect([rule for rule in rules if rule.get("notify") != NOBODY], plugins),
    ]


def _tables(raw: object) -> list[Mapping[str, Any]]:
    """The entries of an array of tables; an entry that is not a table counts as an empty one."""
    return [item if isinstance(item, Mapping) else {} for item in raw] if isinstance(raw, list) else []


def _login(document: Mapping[str, Any]) -> Iterator[Finding]:
    table = document.get("orchestrator")
    if table is None:
        yield Finding(
            (), f'the table [orchestrator] is missing; it names the source of the events, as url = "{SIMULATOR}"'
        )
    if not isinstance(table, Mapping) or table.get("url") == SIMULATOR:
        return
    keys = OrchestratorConfig.model_fields
    # A misspelt key is reported as such; here it counts as the key that was probably intended.
    keys_written = {key if key in keys else nearest(key, keys) for key in table}
    place = ("orchestrator",)
    match ("token" in keys_written, "username" in keys_written, "password" in keys_written):
        case (True, False, False) | (False, True, True):
            return
        case (True, _, _):
            yield Finding(
                (*place, "token"), "cannot be combined with a login; remove token, or username and password"
            )
        case (False, True, False):
            yield Finding(place, "password is missing; username goes with it")
        case (False, False, True):
            yield Finding(place, "username is missing; password goes with it")
        case _:
            yield Finding(place, "needs username and password, or token")


def _projects(document: Mapping[str, Any]) -> Iterator[Finding]:
    raw = document.get("projects", [])
    if raw == []:
        yield Finding(
            ("projects",) if "projects" in document else (),
            'no project to watch; add [[projects]] with id = "project-123", or id = "*" for all',
        )
    project_ids: set[str] = set()
    for index, project in enumerate(_tables(raw)):
        project_id = project.get("id")
        if isinstance(project_id, str) and project_id in project_ids:
            yield Finding(("projects", index, "id"), f"the project {project_id} is listed already")
        if isinstance(project_id, str):
            project_ids.add(project_id)


def _reconnect_delays(raw: object) -> Iterator[Finding]:
    if not isinstance(raw, Mapping):
        return
    fields = ConnectionConfig.model_fields
    try:
        first, longest = (
            parse_duration(raw[key]) if key in raw else fields[key].default
            for key in ("reconnect_initial_delay", "reconnect_max_delay")
        )
    except ValueError:
        return
    if first > longest:
        key = "reconnect_initial_delay" if "reconnect_initial_delay" in raw else "reconnect_max_delay"
        yield Finding(("connection", key), "reconnect_initial_delay is longer than reconnect_max_delay")


def _rule_names(rules: list[Mapping[str, Any]], plugins: PluginTables) -> Iterator[Finding]:
    names = [rule.get("name") for rule in rules]
    implied_rules = {name for name in plugins.tables if _has(name, "events", plugins)}
    counts: Counter[str] = Counter()
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue
        counts[name] += 1
        if counts[name] > 1:
            yield Finding(("rules", index, "name"), f"there is a rule {name} already")
        elif name in implied_rules:
            yield Finding(
                ("rules", index, "name"),
                f"{name} is already the name of the rule made from that instance's events",
            )


def _notify(index: int, rule: Mapping[str, Any], plugins: PluginTables) -> Iterator[Finding]:
    yield from _destinations_at(("rules", index, "notify"), rule.get("notify"), plugins)


def _destinations_at(place: Place, names: object, plugins: PluginTables) -> Iterator[Finding]:
    """Checks that the destinations in the list at ``place`` exist, and are listed once."""
    if not isinstance(names, list):
        return
    for position, name in enumerate(names):
        if isinstance(name, str) and (problem := _destination_problem(name, plugins)):
            yield Finding((*place, position), problem)
        elif isinstance(name, str) and name in names[:position]:
            yield Finding((*place, position), f"{name} is listed twice")


def _watches(
    watches: list[Mapping[str, Any]], rules: list[Mapping[str, Any]], plugins: PluginTables
) -> Iterator[Finding]:
    yield from watch_findings(watches)
    rule_names = {rule.get("name") for rule in rules}
    for index, watch in enumerate(watches):
        yield from _destinations_at(("watches", index, "notify"), watch.get("notify"), plugins)
        if (name := watch.get("name")) in rule_names and "notify" in watch:
            yield Finding(
                ("watches", index, "name"), f"there is a rule {name} already; its notify makes a rule, too"
            )


def _flips(index: int, rule: Mapping[str, Any]) -> Iterator[Finding]:
    """Reports keys that belong to another key that the rule has not."""
    flips = rule.get("on")
    if flips is None:
        for key in ("confirm", "remind_every"):
            if key in rule:
                yield Finding(("rules", index, key), f'has no effect without on = ["{FIRST_FAILURE}"]')
    elif isinstance(flips, list):
        if "remind_every" in rule and STILL_FAILING not in flips:
            yield Finding(("rules", index, "remind_every"), f'has no effect unless "{STILL_FAILING}" is in on')
        for position, flip in enumerate(flips):
            if flip in flips[:position]:
                yield Finding(("rules", index, "on", position), f"{flip} is listed twice")
    if "hold_at_most" in rule and "held_back_by" not in rule:
        yield Finding(
            ("rules", index, "hold_at_most"),
            "has no effect without held_back_by, which names the rules to wait for",
        )


def _escalation(index: int, rule: Mapping[str, Any], plugins: PluginTables) -> Iterator[Finding]:
    longest = 0.0
    for step, table in enumerate(_tables(rule.get("escalate"))):
        place = ("rules", index, "escalate", step)
        yield from _destinations_at((*place, "notify"), table.get("notify"), plugins)
        try:
            after = parse_duration(table.get("after"))
        except ValueError:
            continue
        if after <= longest:
            yield Finding(
                (*place, "after"), "should be longer than that of the step before; write them in their order"
            )
        longest = max(longest, after)


def _causes(rules: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """Checks that the rules in ``held_back_by`` exist, and that none waits for itself."""
    known = [name for rule in rules if isinstance(name := rule.get("name"), str)]
    causes = {name: rule.get("held_back_by") for rule in rules if isinstance(name := rule.get("name"), str)}
    for index, rule in enumerate(rules):
        own, names = rule.get("name"), rule.get("held_back_by")
        for position, name in enumerate(names) if isinstance(names, list) else ():
            place = ("rules", index, "held_back_by", position)
            if not isinstance(name, str):
                continue
            if name == own:
                yield Finding(place, "a rule cannot wait for itself; name the rule of the cause")
            elif name not in known:
                yield Finding(place, f"there is no rule called {name}{did_you_mean(name, known)}")
            elif isinstance(own, str) and (circle := _circle_of_causes(own, name, causes)):
                yield Finding(place, f"the rules wait for each other: {' → '.join(circle)}; leave one of them out")


def _circle_of_causes(own: str, first: str, causes: Mapping[str, object]) -> list[str]:
    """A way from ``own`` over ``first`` back to it; empty if there is none."""
    ways = [[own, first]]
    seen = {first}
    while ways:
        way = ways.pop()
        names = causes.get(way[-1])
        for name in names if isinstance(names, list) else ():
            if name == own:
                return [*way, own]
            if isinstance(name, str) and name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _quiet_names(
    document: Mapping[str, Any], rules: list[Mapping[str, Any]], plugins: PluginTables
) -> Iterator[Finding]:
    """Checks that the quiet hours that rules and instances name exist."""
    raw = document.get("quiet")
    tables = raw if isinstance(raw, Mapping) else {}
    uses: list[tuple[Place, object]] = [
        (("rules", index, "quiet"), rule.get("quiet")) for index, rule in enumerate(rules)
    ]
    uses += [
        (("plugins", *name.split("."), "quiet"), plugins.value(name, "quiet"))
        for name in plugins.tables
        if name in plugins.enabled
    ]
    for place, name in uses:
        if isinstance(name, str) and name and name not in tables:
            hint = did_you_mean(name, tables) or f"; add a table [quiet.{name}] with from, to and tz"
            yield Finding(place, f"there are no quiet hours called {name}{hint}")


def _endless_quiet(document: Mapping[str, Any]) -> Iterator[Finding]:
    """Reports quiet hours that begin anew when they end, every day of the week."""
    raw = document.get("quiet")
    for name, table in raw.items() if isinstance(raw, Mapping) else ():
        try:
            config = QuietConfig.model_validate(table)
        except ValidationError:
            continue
        if config.start == config.end and len(config.days) == len(WEEKDAYS):
            yield Finding(("quiet", name), "never ends: from and to are the same, on every day; name some days")


def _keys_of_rules_for_nobody(rules: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for index, rule in enumerate(rules):
        if rule.get("notify") == NOBODY:
            for key in (*_TEXTS, *_STAGES):
                if key in rule:
                    yield Finding(("rules", index, key), f'has no effect: notify = "{NOBODY}" tells nobody')


def _destination_problem(name: str, plugins: PluginTables) -> str | None:
    if name == NOBODY:
        return f'write notify = "{NOBODY}", without a list'
    if name not in plugins.declared:
        partial_matches = [known for known in plugins.declared if name in known.split(".")]
        hint = f"; did you mean {partial_matches[0]}?" if partial_matches else did_you_mean(name, plugins.declared)
        return f"no destination called {name}{hint or f'; add a table [plugins.{name}]' if '.' in name else hint}"
    if not plugins.declared[name]:
        return f"{name} is disabled; remove it here, or its enabled = false"
    if not plugins.delivers.get(name, True):
        return f"{name} is no destination; the plugin {name.split('.')[0]} has no deliver"
    return None


def _fallbacks(plugins: PluginTables) -> Iterator[Finding]:
    """Checks that each fallback is a known destination and that no chain of fallbacks is a circle."""
    targets = {name: plugins.value(name, "fallback") for name in plugins.tables}
    reported: set[str] = set()
    for name, target in targets.items():
        if not isinstance(target, str):
            continue
        if target == name:
            yield _instance_finding(
                name, "fallback", f"{name} cannot take over from itself; name another destination", plugins
            )
        elif unknown := _destination_problem(target, plugins):
            yield _instance_finding(name, "fallback", unknown, plugins)
        elif name not in reported and (circle := _circle(name, targets)):
            reported.update(circle)
            problem = f"the fallbacks go in a circle: {' → '.join(circle)}; leave one of them out"
            yield _instance_finding(name, "fallback", problem, plugins)


def _has(name: str, key: str, plugins: PluginTables) -> bool:
    """True if the key is set in the instance's table, or has a default of its plugin's own."""
    return key in plugins.tables[name] or key in plugins.defaults.get(name, {})


def _instance_finding(name: str, key: str, problem: str, plugins: PluginTables) -> Finding:
    """A finding about a key of the instance, or about its plugin's default for the key."""
    place = ("plugins", *name.split("."))
    if key in plugins.tables[name]:
        return Finding((*place, key), problem)
    return Finding(place, f"{plugins.defaults[name][key]}: {key}: {problem}".removeprefix(": "))


def _circle(start: str, targets: Mapping[str, object]) -> list[str]:
    """The circle of fallbacks from ``start`` back to it; empty if there is none."""
    chain = [start]
    while isinstance(target := targets.get(chain[-1]), str) and target not in chain[1:]:
        chain.append(target)
        if target == start:
            return chain
    return []


def _keys_without_effect(rules: list[Mapping[str, Any]], plugins: PluginTables) -> Iterator[Finding]:
    """Reports keys of instances that would have no effect."""
    own_rules = any(_has(name, "events", plugins) and plugins.delivers[name] for name in plugins.tables)
    for name, table in plugins.tables.items():
        if not plugins.delivers[name]:
            unused = [key for key in _FOR_DESTINATIONS_ONLY if key in table]
            reason = f"has no effect here; the plugin {name.split('.')[0]} has no deliver"
        elif not _has(name, "events", plugins) and (rules or own_rules):
            unused = [key for key in _NEED_EVENTS if key in table]
            reason = "has no effect unless events is set; add events, or write it into a rule"
        else:
            unused, reason = [], ""
        for key in unused:
            yield Finding(("plugins", *name.split("."), key), reason)
        if plugins.delivers[name] and "fallback_after" in table and "fallback" not in table:
            place = ("plugins", *name.split("."), "fallback_after")
            yield Finding(place, "has no effect unless fallback is set; name the destination that takes over")
