"""Rendering of lines and bars for ``tail``."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from aintandem_notify.domain.events import TaskOutputEvent
from aintandem_notify.domain.notification import Project, Severity
from aintandem_notify.live_view.model import DisplayLine, TaskBar
from aintandem_notify.live_view.render import (
    json_line,
    plain_lines,
    render_bars,
    terminal_lines,
    wrap,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PROJECT = Project(id="project-123", name="Sales")
FAILED = DisplayLine(NOON, PROJECT, Severity.ERROR, 'Task "A" failed', ("no such file",), "A")
OUTPUT = DisplayLine(NOON, PROJECT, Severity.INFO, "one", ("two",), "A", is_output=True)
BAR = TaskBar("Analyse", PROJECT, 40.0, "Load", "3 of 8 files", NOON - timedelta(seconds=65))


def test_plain_lines_have_it_all_on_each_line() -> None:
    start = "2026-03-01T12:00:00Z project-123 "
    assert list(plain_lines(FAILED)) == [start + 'Task "A" failed', start + "A | no such file"]
    assert list(plain_lines(OUTPUT)) == [start + "A | one", start + "A | two"]


def test_lines_for_a_terminal() -> None:
    def rendered(line: DisplayLine, *, with_project: bool = False) -> list[str]:
        lines = terminal_lines(line, zone=UTC, with_project=with_project)
        return [margin.plain + text.plain for margin, text in lines]

    assert rendered(FAILED) == ['12:00:00 ✖ Task "A" failed', "         │ no such file"]
    assert rendered(FAILED, with_project=True)[0] == '12:00:00 ✖ Task "A" failed  Sales'
    assert rendered(OUTPUT) == ["         A │ one", "         A │ two"]
    assert len(rendered(replace(FAILED, text="x" * 10_000))[0]) < 2100


def test_long_lines_go_on_beside_their_margin() -> None:
    console = Console(width=40)
    lines = [
        text.plain
        for margin, beside in terminal_lines(replace(OUTPUT, text="word " * 12), zone=UTC, with_project=False)
        for text in wrap(margin, beside, console)
    ]
    assert lines == [
        "         A │ word word word word word",
        "             word word word word word",
        "             word word",
        "         A │ two",
    ]


@given(st.text(), st.text())
def test_json_is_the_wire_s_and_printable(output: str, extra: str) -> None:
    wire = {"type": "output", "projectId": "p", "taskId": "t", "output": output, "timestamp": "x", "extra": extra}
    line = json_line(TaskOutputEvent.from_wire(wire, NOON))
    assert json.loads(line) == wire
    assert len(line.splitlines()) == 1
    assert not {*line} & {*map(chr, range(32)), *map(chr, range(127, 160))}


def on_screen(*running: TaskBar, rows: int = 10, width: int = 80, with_project: bool = False) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(render_bars(running, now=NOON, rows=rows, columns=width, with_project=with_project))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_bar_shows_progress_duration_and_message() -> None:
    (line,) = on_screen(BAR)
    assert line.startswith("Analyse ━━━━━━━━")
    assert line.endswith("  40% 1 min 5 s Load · 3 of 8 files")
    assert on_screen(BAR, with_project=True)[0].endswith("Sales · Load · 3 of 8 files")


def test_bars_fit_the_screen() -> None:
    assert on_screen() == []
    assert [len(line) <= 37 for line in on_screen(replace(BAR, message="x" * 190), width=40)] == [True]
    lines = on_screen(*[BAR] * 30, rows=5)
    assert len(lines) == 5
    assert lines[-1] == "… and 26 more running tasks"
    assert len(on_screen(BAR, BAR, rows=-3)) == 1
