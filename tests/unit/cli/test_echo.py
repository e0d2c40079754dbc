"""Commands print through one module, which lets no control sequences through."""

import ast
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aintandem_notify import cli, log
from aintandem_notify.cli import echo as echo_module
from aintandem_notify.cli.echo import echo, echo_json, echo_lines, install_excepthooks
from aintandem_notify.cli.main import commands

HOSTILE = "\x1b[31mred\n\x9b\u202e\r\x7f"

DOOR = Path(echo_module.__file__)
PRINTING = {"echo", "secho", "echo_via_pager", "prompt", "confirm", "print", "clear", "progressbar"}
ASKING = {("prompts.py", "prompt"), ("prompts.py", "confirm")}
"""Modules that make their questions printable themselves."""


def printing_calls(path: Path) -> set[str]:
    """Returns the names of click's or Python's printing functions that the module calls."""
    calls = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("click"), attr=name)) if name in PRINTING:
                calls.add(name)
            case ast.Call(func=ast.Name("print")) | ast.Attribute(attr="write" | "writelines"):
                calls.add("print")
            case ast.ImportFrom(module="click", names=names) if {alias.name for alias in names} & PRINTING:
                calls.add("echo")
    return calls


@pytest.mark.parametrize("path", sorted(Path(cli.__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_no_other_module_prints_by_itself(path: Path) -> None:
    allowed = {name for module, name in ASKING if module == path.name}
    assert printing_calls(path) <= (PRINTING if path == DOOR else allowed)


def test_the_test_sees_who_prints() -> None:
    assert printing_calls(DOOR) == {"echo", "print"}


def test_a_line_stays_one_and_lines_stay_some(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    echo_lines(HOSTILE, err=True)
    echo_json('"\x9b"')

    printed = capsys.readouterr()
    assert printed.out == r"\x1b[31mred\n\x9b\u202e\r\x7f" + "\n" + r'"\u009b"' + "\n"
    assert printed.err == r"\x1b[31mred" + "\n" + r"\x9b\u202e\r\x7f" + "\n"


def test_our_own_colours_are_added_to_what_is_printable() -> None:
    @click.command()
    def command() -> None:
        echo("\x1b[2Jx", fg="red", bold=True)

    output = CliRunner().invoke(command, color=True).output
    assert output == "\x1b[31m\x1b[1m" + r"\x1b[2Jx" + "\x1b[0m\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["\x1b[31m"],
        ["a\nforged"],
        ["schema", "\nforged"],
        ["--\x1b[31m"],
        ["status", "--\x9b\u202e"],
        ["status", "c.toml", "\x1b[31m"],
        ["deliveries", "\x1b[31m"],
        ["deliveries", "list", "--state", "\x1b[31m"],
        ["deliveries", "list", "--limit", "\x1b[31m"],
        ["tail", "--project", ".."],
        ["tail", "--task", "\x1b[31m/"],
        ["check", "\x1b[31m\n.toml"],
        ["check", "\udcff\x9b.toml"],
        ["init", "\x1b[31m/x"],
        ["init", "--set", "\x1b[31m"],
        ["init", "--yes", "--plugin", "\x1b[31m"],
        ["schema", "--plugins-dir", "\x1b[31m", "\x9b"],
    ],
)
def test_whatever_is_said_of_arguments_is_printable(arguments: list[str]) -> None:
    ended = CliRunner().invoke(commands, arguments)

    assert ended.exit_code in (1, 2)
    assert isinstance(ended.exception, SystemExit)
    assert ended.output.replace("\n", "").isprintable()
    assert "\nforged" not in ended.output


def test_what_nobody_caught_is_printable_and_holds_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((sys, "excepthook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    log.register_secret("an-uncaught-secret")
    install_excepthooks()

    error = RuntimeError("\x1b]0;pwned\x07 an-uncaught-secret")
    sys.excepthook(RuntimeError, error, None)

    assert capsys.readouterr().err == r"RuntimeError: \x1b]0;pwned\x07 [redacted]" + "\n"
