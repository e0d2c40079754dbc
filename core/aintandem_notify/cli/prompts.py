"""Asks questions on standard input, and holds the answers that were given as options."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from aintandem_notify.cli.echo import echo
from aintandem_notify.foundation.printable import escape

if TYPE_CHECKING:
    from aintandem_notify.init_wizard import Question

SIMULATOR = "simulator"
"""The answer for the URL that needs no orchestrator."""

_MISSING: Final = {
    "url": "the URL is missing; give it with --url",
    "username": "the username is missing; give it with --username",
    "password": "the password is missing; give it with --password-file or AINTANDEM_PASSWORD, or a token with "
    "--token-file; without a server take --url simulator",
    "token": "the token is missing; give it with --token-file",
}
"""The errors for missing answers if nothing may be asked."""


class Answers:
    """The answers from the options; asks for missing ones if ``is_interactive``.

    If nothing may be asked, a missing answer without a default and a wrong answer raise ClickException with a
    sentence.
    """

    def __init__(
        self,
        *,
        url: str | None,
        username: str | None,
        password: str | None,
        token: str | None,
        projects: Sequence[str],
        plugins: Sequence[str],
        settings: Mapping[tuple[str, str], str],
        preset: str | None,
        time_zone: str | None,
        is_interactive: bool,
    ) -> None:
        self.projects = projects
        self.plugins = plugins
        self.settings: dict[tuple[str, str], str] = dict(settings)
        self.is_interactive = is_interactive
        options = {"url": url, "username": username, "password": password, "token": token}
        options |= {"preset": preset, "time_zone": time_zone}
        self._known = {name: value for name, value in options.items() if value is not None}
        for value in (*self._known.values(), *projects, *plugins, *settings.values()):
            if not value.isprintable():
                raise click.UsageError("an option contains characters that cannot be shown")

    @property
    def is_embedded(self) -> bool:
        """True if the simulator was chosen."""
        return self._known.get("url") == SIMULATOR

    def knows(self, name: str) -> bool:
        """True if there is an answer already."""
        return name in self._known

    def ask(self, name: str, text: str, *, default: str | None = None, hidden: bool = False) -> str:
        """Returns the answer; asks for it if it is unknown."""
        if name not in self._known:
            self._known[name] = self._prompt_for(text, default, hidden=hidden, if_missing=_MISSING.get(name, ""))
        return self._known[name]

    def setting(self, kind: str, question: Question) -> str:
        """Returns the value of a plugin's key; empty for an optional key without one."""
        answer_key = kind, question.key
        if answer_key not in self.settings:
            default = "" if question.optional else question.default
            if not self.is_interactive and question.optional:
                return ""
            missing = f"{kind} needs {question.key}; give it with --set {kind}.{question.key}=VALUE"
            self.settings[answer_key] = self._prompt_for(
                question.text, default, hidden=question.is_secret, if_missing=missing
            )
        return self.settings[answer_key]

    def reject(self, name: str, sentence: str) -> None:
        """Reports a wrong answer and removes it, so that the question is asked again."""
        self._report_problem(sentence)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Removes the answer, so that the question is asked again."""
        self._known.pop(name, None)

    def reject_plugin(self, kind: str, sentence: str | None = None) -> None:
        """Removes all answers for a plugin, so that its questions are asked again. Reports the problem, if any."""
        if sentence is not None:
            self._report_problem(sentence)
        self.settings = {key: value for key, value in self.settings.items() if key[0] != kind}

    def choose(self, sentence: str, words: Sequence[str]) -> str:
        """Reports a problem and asks for one of ``words``; the first is the default."""
        self._report_problem(sentence)
        choice = click.Choice([word[0] for word in words])
        question = ", ".join(f"({word[0]}){word[1:]}" for word in words)
        letter = prompt(f"What now? {question}", type=choice, default=words[0][0], show_choices=False)
        return next(word for word in words if word[0] == letter)

    def require_yes(self, question: str, otherwise: str) -> None:
        """Asks for a yes. Raises ClickException for a no, and with ``otherwise`` if nothing may be asked."""
        if not self.is_interactive:
            raise click.ClickException(otherwise)
        if not confirm(question, default=False):
            raise click.ClickException("nothing is changed")

    def _report_problem(self, sentence: str) -> None:
        if not self.is_interactive:
            raise click.ClickException(sentence)
        echo(sentence, fg="yellow")

    def _prompt_for(self, text: str, default: str | None, *, hidden: bool, if_missing: str) -> str:
        if not self.is_interactive:
            if default is None:
                raise click.ClickException(if_missing)
            return default
        while True:
            # Not hidden if stdin is no terminal: getpass would use another terminal, or warn.
            hide = hidden and sys.stdin.isatty()
            answer: str = prompt(text, default=default, hide_input=hide, show_default=bool(default))
            answer = answer.rstrip("\r\n")  # from a file with Windows line ends, piped in
            if answer.isprintable():
                return answer if hidden else answer.strip()
            echo("The answer contains characters that cannot be shown; type it again.", fg="yellow")


def prompt(text: str, **options: Any) -> Any:
    """As in click, but one Ctrl-C always ends it."""
    from aintandem_notify.foundation.signals import interruptible_reads

    with interruptible_reads():
        return click.prompt(escape(text), **options)


def confirm(text: str, **options: Any) -> bool:
    """As in click, but one Ctrl-C always ends it."""
    from aintandem_notify.foundation.signals import interruptible_reads

    with interruptible_reads():
        return click.confirm(escape(text), **options)


def parse_selection(text: str, options: Sequence[str], *, only: bool = False) -> list[str] | str:
    """Returns the options that ``text`` picks by number or name, each once; a sentence if it is wrong.

    A name that is no option is taken as it is, unless ``only``.
    """
    chosen: dict[str, None] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word in options:
            chosen[word] = None
        elif word.isdecimal() and len(word) < 6:
            if not 1 <= int(word) <= len(options):
                return f"There is no number {word}."
            chosen[options[int(word) - 1]] = None
        elif only:
            return f"There is no {word}."
        else:
            chosen[word] = None
    return list(chosen) or "Pick at least one."
