"""The rules to pick from in a first configuration, as values and as commented TOML. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aintandem_notify.init_wizard.toml_text import toml_string


@dataclass(frozen=True, slots=True)
class Preset:
    """A choice: its name as an option, and its meaning in a few words."""

    name: str
    about: str
    has_rule: bool = True
    has_night: bool = False


PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset("ends", "every end of a run, good or bad", has_rule=False),
        Preset("failures", "only failures, and many at once as one message"),
        Preset("night", "the same, but not from 22:00 to 07:00: one message in the morning", has_night=True),
    )
}
"""The choices by their names; the first one needs no rule."""

_NO_RULE: Final = """\
# Without rules every plugin is notified of every end, good or bad. Rules select:
#
"""
_ONE_RULE: Final = """\
# Only these events of runs are told. To try a rule before it is used:  aintandem-notify rules test SCENARIO
"""
_RULE: Final = """\
[[rules]]
name = "failures"
events = ["*_failed", "sandbox_error"]
# projects = ["sales-*"]                               # only these; globs over id and name
# when = "run.duration is none or run.duration > 60"   # Jinja2; seconds
# The first failure waits for others, and all become one message. Then the next message waits for the pause.
group = { by = ["project"], wait = "30s", every = "5m" }
# settle = "2m"                                        # not told if a new attempt begins within this time
"""
_NIGHT: Final = """\
[quiet.night]
from = "22:00"
to = "07:00"
tz = TIME_ZONE
# days = ["mon-fri"]                                   # on which quiet begins; by default every day
# except = ["critical"]                                # severities that do not wait
"""


def preset_lines(preset: Preset, destinations: Sequence[str], time_zone: str) -> list[str]:
    """The rules of a configuration with comments. A table that is left out is a comment, as an example."""
    has_rule = preset.has_rule and bool(destinations)
    has_night = preset.has_night and has_rule
    names = ", ".join(map(toml_string, destinations or ("console.terminal",)))
    return [
        *(_ONE_RULE if has_rule else _NO_RULE).splitlines(),
        *_lines(_RULE, is_comment=not has_rule),
        *_lines('quiet = "night"', is_comment=not has_night),
        *_lines(f"notify = [{names}]", is_comment=not has_rule),
        "",
        *_lines(_NIGHT.replace("TIME_ZONE", toml_string(time_zone)), is_comment=not has_night),
    ]


def preset_tables(preset: Preset, destinations: Sequence[str], time_zone: str) -> dict[str, Any]:
    """The same as values; none without a rule or a destination."""
    return tomllib.loads("\n".join(preset_lines(preset, destinations, time_zone)))


def _lines(text: str, *, is_comment: bool) -> list[str]:
    return [f"# {line.removeprefix('# ')}" if is_comment else line for line in text.splitlines()]
