"""``[[watches]]``: keys by kind, names, cron expressions, and the words of ``check``."""

from pathlib import Path

import pytest

from aintandem_notify.errors import ConfigError
from aintandem_notify.watches.descriptions import watch_warnings, watch_words
from support.config_texts import load_text

BASE = """
[orchestrator]
url = "simulator"
[[projects]]
id = "sales"
[plugins.file_log.me]
path = "log"
"""
RULE = '[[rules]]\nname = "failures"\nevents = ["task_failed"]\nnotify = ["file_log.me"]\n'


def problems(folder: Path, *watches: str, rules: str = "") -> list[str]:
    text = BASE + rules + "".join(f"[[watches]]\n{watch}\n" for watch in watches)
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("watch", "problem"),
    [
        ('kind = "stalled"', "a watch of the kind stalled needs silent_for or no_progress_for"),
        ('kind = "overdue"', "a watch of the kind overdue needs running_for or slower_than"),
        ('kind = "queued"', "a watch of the kind queued needs waiting_for"),
        ('kind = "missing"', "a watch of the kind missing needs every or cron"),
        ('kind = "too_fast"', "a watch of the kind too_fast needs faster_than"),
        (
            'kind = "queued"\nwaiting_for = "1m"\nrunning_for = "1h"',
            "running_for: is for the kind overdue only, and this one is queued",
        ),
        (
            'kind = "stalled"\nsilent_for = "1m"\ntz = "UTC"',
            "tz: is for the kind missing only, and this one is stalled",
        ),
        ('kind = "paused"\nwaiting_for = "1m"\ntasks = ["x"]', "tasks: has no effect: only workflows are paused"),
        ('kind = "missing"\nevery = "1d"\ncron = "0 6 * * *"', "cron: cannot be combined with every"),
        ('kind = "missing"\nevery = "1d"\ntz = "UTC"', "tz: has no effect without cron"),
        ('kind = "missing"\ncron = "0 25 * * *"', "cron: is no cron expression: bad hour"),
        ('kind = "missing"\ncron = "0 0 30 2 *"', "cron: is no cron expression: bad day-of-month"),
        ('kind = "missing"\ncron = "@daily"', "cron: should have five fields"),
        ('kind = "missing"\ncron = "* * * * * *"', "cron: should have five fields"),
        ('kind = "stalled"\nsilent_for = "40d"', "silent_for: should be at most 31d"),
        ('kind = "stalled"\nsilent_for = 5', "silent_for: not a duration"),
        ('kind = "overdue"\nslower_than = { quantile = 2 }', "slower_than.quantile: should be more than 0"),
        ('kind = "overdue"\nslower_than = { times = true }', "slower_than.times: should be a number"),
        ('kind = "stalled"\nsilent_fur = "1m"', "silent_fur: unknown key; did you mean silent_for?"),
        ('kind = "stalled"\nsilent_for = "1m"\ntasks = []', "tasks: should not be empty"),
        (
            'kind = "stalled"\nsilent_for = "1m"\nnotify = ["file_log.you"]',
            "notify[0]: no destination called file_log.you",
        ),
        ('kind = "hung"', "kind: should be"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, watch: str, problem: str) -> None:
    assert any(problem in found for found in problems(tmp_path, f'name = "w"\n{watch}'))


def test_names_are_unique(tmp_path: Path) -> None:
    hung = 'name = "failures"\nkind = "stalled"\nsilent_for = "1m"\nnotify = ["file_log.me"]'
    assert problems(tmp_path, hung, hung, rules=RULE) == [
        "watches[0].name: there is a rule failures already; its notify makes a rule, too",
        "watches[1].name: there is a watch failures already",
        "watches[1].name: there is a rule failures already; its notify makes a rule, too",
    ]


def words(folder: Path, watch: str, rules: str = RULE) -> tuple[list[str], list[str]]:
    config = load_text(folder, f'{BASE}{rules}[[watches]]\nname = "w"\n{watch}\n')
    return [text for _, text in watch_words(config)], list(watch_warnings(config))


@pytest.mark.parametrize(
    ("watch", "text"),
    [
        (
            'kind = "stalled"\ntasks = ["t"]\nsilent_for = "9m"\nno_progress_for = "1h"\nnotify = ["file_log.me"]',
            "tasks t that are silent for 9m or make no progress for 1h; told to file_log.me",
        ),
        (
            'kind = "overdue"\nrunning_for = "2h"\nslower_than = {}',
            (
                "runs that run for 2h or take 2 times as long as 95 % of those before, at least 10m; "
                "told as a failure would be, unless a rule takes it"
            ),
        ),
        (
            'kind = "queued"\nwaiting_for = "10m"\nremind_every = "1h"\nprojects = ["sales"]',
            (
                "runs in projects sales that are queued for 10m, and again each 1h; "
                "told as a failure would be, unless a rule takes it"
            ),
        ),
        (
            'kind = "missing"\nworkflows = ["sync"]\ntasks = ["import"]\ncron = "0 6 * * *"\ntz = "Europe/Berlin"',
            (
                "tasks import and workflows sync that do not start at 0 6 * * * Europe/Berlin, 30m of grace; "
                "told as a failure would be, unless a rule takes it"
            ),
        ),
    ],
)
def test_a_watch_is_described_in_words(tmp_path: Path, watch: str, text: str) -> None:
    assert words(tmp_path, watch) == ([text], [])


@pytest.mark.parametrize(
    ("watch", "rules", "warning"),
    [
        ('kind = "paused"\nwaiting_for = "1h"\nworkflows = ["x"]', RULE, "watch w tells nobody"),
        ('kind = "stalled"\nsilent_for = "1h"\nsandboxes = ["x"]', RULE, "watch w tells nobody"),
        (
            'kind = "stalled"\nsilent_for = "1h"',
            f'[[rules]]\nname = "none"\nevents = ["watch/*"]\nnotify = "nobody"\n{RULE}',
            "watch w tells nobody",
        ),
        ('kind = "missing"\ncron = "*/10 * * * *"', RULE, "has a grace of 30m, longer than the 10m"),
        ('kind = "stalled"\nsilent_for = "1h"\nno_progress_for = "1h"', RULE, "silent_for has no effect"),
        ('kind = "stalled"\nsilent_for = "1h"\nprojects = ["x*"]', RULE, "no project here has such an id"),
    ],
)
def test_a_watch_that_cannot_work_is_warned_of(tmp_path: Path, watch: str, rules: str, warning: str) -> None:
    [found] = words(tmp_path, watch, rules)[1]
    assert warning in found
