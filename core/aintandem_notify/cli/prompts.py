"""Questions on the terminal, or on whatever stdin is, and answers that were given beforehand."""

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
"""The answer that needs no orchestrator."""

_MISSING: Final = {
    "url": "the URL is missing; give it with --url",
    "username": "the username is missing; give it with --username",
    "password": "the password is missing; give it with --password-file or AINTANDEM_PASSWORD, or a token with "
    "--token-file; without a server take --url simulator",
    "token": "the token is missing; give it with --token-file",
}
"""What is said where nobody can be asked."""


class Answers:
    """What was given as options, and what is asked for the rest; ``is_interactive`` False: nothing is asked.

    Whatever cannot be asked and has no default, and whatever is wrong and cannot be asked again, raises
    ClickException with a sentence.
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
        is_interactive: bool,
    ) -> None:
        self.projects = projects
        self.plugins = plugins
        self.settings = dict(settings)
        self.is_interactive = is_interactive
        given = {"url": url, "username": username, "password": password, "token": token}
        self._known = {name: value for name, value in given.items() if value is not None}
        for value in (*self._known.values(), *projects, *plugins, *settings.values()):
            if not value.isprintable():
                raise click.UsageError("an option holds characters that cannot be shown")

    @property
    def is_embedded(self) -> bool:
        """Whether the simulator was chosen."""
        return self._known.get("url") == SIMULATOR

    def knows(self, name: str) -> bool:
        """Whether there is an answer already."""
        return name in self._known

    def ask(self, name: str, text: str, *, default: str | None = None, hidden: bool = False) -> str:
        """The answer, asked for if it is not known yet."""
        if name not in self._known:
            self._known[name] = self._prompt_for(text, default, hidden=hidden, otherwise=_MISSING[name])
        return self._known[name]

    def setting(self, kind: str, question: Question) -> str:
        """The value of a plugin's key; empty for an optional one that is left out."""
        place = kind, question.key
        if place not in self.settings:
            default = "" if question.optional else question.default
            if not self.is_interactive and question.optional:
                return ""
            missing = f"{kind} needs {question.key}; give it with --set {kind}.{question.key}=VALUE"
            self.settings[place] = self._prompt_for(
                question.text, default, hidden=question.is_secret, otherwise=missing
            )
        return self.settings[place]

    def reject(self, name: str, sentence: str) -> None:
        """An answer is wrong: say so, and have it asked once more."""
        self._report_problem(sentence)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Have it asked once more."""
        self._known.pop(name, None)

    def reject_plugin(self, kind: str, sentence: str | None = None) -> None:
        """The same for all that a plugin was asked."""
        if sentence is not None:
            self._report_problem(sentence)
        self.settings = {place: value for place, value in self.settings.items() if place[0] != kind}

    def choose(self, sentence: str, words: Sequence[str]) -> str:
        """One of ``words``, the first one by default, after something went wrong."""
        self._report_problem(sentence)
        choice = click.Choice([word[0] for word in words])
        question = ", ".join(f"({word[0]}){word[1:]}" for word in words)
        letter = prompt(f"What now? {question}", type=choice, default=words[0][0], show_choices=False)
        return next(word for word in words if word[0] == letter)

    def allow(self, question: str, otherwise: str) -> None:
        """Go on only if somebody says yes."""
        if not self.is_interactive:
            raise click.ClickException(otherwise)
        if not confirm(question, default=False):
            raise click.ClickException("nothing is changed")

    def _report_problem(self, sentence: str) -> None:
        if not self.is_interactive:
            raise click.ClickException(sentence)
        echo(sentence, fg="yellow")

    def _prompt_for(self, text: str, default: str | None, *, hidden: bool, otherwise: str) -> str:
        if not self.is_interactive:
            if default is None:
                raise click.ClickException(otherwise)
            return default
        while True:
            # Not hidden where nothing is shown: getpass would go to another terminal, or warn.
            hide = hidden and sys.stdin.isatty()
            answer: str = prompt(text, default=default, hide_input=hide, show_default=bool(default))
            answer = answer.rstrip("\r\n")  # of a file from Windows, piped in
            if answer.isprintable():
                return answer if hidden else answer.strip()
            echo("That holds characters that cannot be shown; type it again.", fg="yellow")


def prompt(text: str, **how: Any) -> Any:
    """As click's; a single Ctrl-C ends it, whenever it comes."""
    from aintandem_notify.foundation.signals import interruptible_reads

    with interruptible_reads():
        return click.prompt(escape(text), **how)


def confirm(text: str, **how: Any) -> bool:
    """As click's; a single Ctrl-C ends it, whenever it comes."""
    from aintandem_notify.foundation.signals import interruptible_reads

    with interruptible_reads():
        return click.confirm(escape(text), **how)


def parse_selection(text: str, options: Sequence[str], *, only: bool = False) -> list[str] | str:
    """What ``text`` picks of ``options``, by number or by itself, each once; a sentence if it cannot be told.

    What is no option is taken as it is, unless ``only``.
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
