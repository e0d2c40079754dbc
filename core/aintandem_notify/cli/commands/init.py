"""``aintandem-notify init``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aintandem_notify.cli.echo import echo, echo_lines
from aintandem_notify.cli.options import config_argument, run_interruptible
from aintandem_notify.cli.prompts import SIMULATOR, Answers, parse_selection, prompt

if TYPE_CHECKING:
    from aintandem_notify.init_wizard import Draft, DraftInstance

DEFAULT_URL = "http://localhost:9900"
PASSWORD = "AINTANDEM_PASSWORD"  # noqa: S105  # the variable's name


@click.command(
    short_help="Ask a few questions and write a configuration.",
    epilog="Example:  aintandem-notify init config.toml",
)
@config_argument
@click.option("--url", help="Address of the orchestrator, or simulator.")
@click.option("--username", help="The name to log in with.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File with the password; by default the variable {PASSWORD} of the environment.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with a token, instead of a username and a password.",
)
@click.option("--project", "projects", multiple=True, metavar="ID", help="A project or a glob; repeatable.")
@click.option(
    "--plugin", "plugins", multiple=True, metavar="TYPE", help="A plugin type, such as console; repeatable."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TYPE.KEY=VALUE",
    help="A plugin's key, as file_log.path=n.jsonl; @FILE reads the value from a file.",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="Which events: ends (of every run), failures (many at once as one message), "
    "or night (failures, but one message in the morning).",
)
@click.option("--time-zone", metavar="NAME", help="Of the night, as Europe/Berlin; by default this machine's.")
@click.option("--yes", is_flag=True, help="Ask nothing: use these options, and defaults for all others.")
@click.option("--force", is_flag=True, help="Overwrite existing files without asking.")
def init(
    config: Path,
    url: str | None,
    username: str | None,
    password_file: Path | None,
    token_file: Path | None,
    projects: tuple[str, ...],
    plugins: tuple[str, ...],
    settings: tuple[str, ...],
    preset: str | None,
    time_zone: str | None,
    yes: bool,
    force: bool,
) -> None:
    """Ask for the projects and the plugins, and write CONFIG.

    Tries the login, lists the projects, sends a test notification through each plugin that you pick, and writes a
    commented CONFIG that runs as it is. Passwords and tokens go into separate files in the folder secrets beside
    it, readable for you only. It writes all files at the end; only file_log writes its test notification at once.
    No server at hand? Use the simulator.
    """
    from aintandem_notify.init_wizard import first_problem

    if token_file is not None and (username is not None or password_file is not None):
        raise click.UsageError("--token-file replaces --username and --password-file; give one or the other")
    answers = Answers(
        url=url,
        username=username,
        password=_read_password(password_file),
        token=None if token_file is None else _read_secret(token_file),
        projects=tuple(dict.fromkeys(projects)),
        plugins=plugins,
        settings=_settings(settings),
        preset=preset,
        time_zone=time_zone,
        is_interactive=not yes,
    )
    _require_free_path(config, answers, force=force)
    draft = _orchestrator(answers)
    if (problem := first_problem(draft, config)) is not None:
        raise click.ClickException(problem)
    draft = _with_preset(_with_plugins(draft, config, answers), answers)
    _write(draft, config, answers, force=force)


def _read_password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD) or None
    return _read_secret(file)


def _read_secret(file: Path) -> str:
    secret = _read_text(file)
    if not secret:
        raise click.ClickException(f"{file} is empty")
    return secret


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise click.ClickException(f"cannot read {file}: {reason}") from None


def _settings(options: Sequence[str]) -> dict[tuple[str, str], str]:
    settings = {}
    for option in options:
        name, equals, value = option.partition("=")
        kind, dot, key = name.partition(".")
        if not (equals and dot):
            raise click.UsageError("--set takes TYPE.KEY=VALUE, as file_log.path=notifications.jsonl")
        settings[kind, key] = _read_text(Path(value[1:])) if value.startswith("@") else value
    return settings


def _require_free_path(config: Path, answers: Answers, *, force: bool) -> None:
    if not config.parent.is_dir():
        raise click.ClickException(f"there is no folder {config.parent}")
    if config.is_dir():
        raise click.ClickException(f"{config} is a folder; name a file in it")
    if config.exists() and not force:
        answers.require_yes(f"{config} exists. Replace it at the end?", f"{config} exists; --force replaces it")


def _orchestrator(answers: Answers) -> Draft:
    """Asks for the URL, the login and the projects until the orchestrator accepts them."""
    from aintandem_notify import log
    from aintandem_notify.init_wizard import Draft, ProbeFailure, connection_problem, probe_projects, url_problem

    log.silence()  # this function prints the problems
    while True:
        url = answers.ask("url", "URL of the orchestrator, or simulator if you have none", default=DEFAULT_URL)
        if (problem := url_problem(url)) is not None:
            answers.reject("url", f"The URL {problem}.")
            continue
        # A person need not type a login if no server answers; a script has given its login already.
        if answers.is_interactive and (reason := run_interruptible(connection_problem, url)) is not None:
            answers.reject("url", f"No usable orchestrator at {url}: {reason}")
            continue
        username, password, token = ("", "", "") if url == SIMULATOR else _login(answers)
        listed = run_interruptible(probe_projects, url, username, password, token)
        if not isinstance(listed, ProbeFailure):
            return Draft(url.rstrip("/"), username, password, _projects(listed, answers), token=token)
        if listed.is_login_refused:
            answers.reject(
                "token" if token else "password", f"The orchestrator refuses this login: {listed.reason}"
            )
            answers.forget("username")
        else:
            answers.reject("url", f"No usable orchestrator at {url}: {listed.reason}")


def _login(answers: Answers) -> tuple[str, str, str]:
    """Returns a username and a password, or a token; the others are empty."""
    if not answers.knows("token"):
        # A person may have a token; a script without a login means the default user.
        default = "" if answers.is_interactive else "admin"
        username = answers.ask("username", "Username (empty: you have a token)", default=default)
        if username:
            return username, answers.ask("password", "Password", hidden=True), ""
    return "", "", answers.ask("token", "Token", hidden=True)


def _projects(listed: Sequence[tuple[str, str]], answers: Answers) -> list[tuple[str, str]]:
    from aintandem_notify.rules import formats

    names = dict(listed)
    if answers.projects:
        if (problem := _unlisted_problem(answers.projects, names, answers)) is not None:
            raise click.ClickException(problem)
        return [(project, names.get(project, "")) for project in answers.projects]
    if not answers.is_interactive:
        return [("*", "")]
    echo()
    echo("Projects:" if listed else "The orchestrator lists no project yet.")
    for number, (project, name) in enumerate(listed, 1):
        id_text = formats.one_line(project, 80)
        more = f"  {formats.one_line(name, 80)}" if name and name != project else ""
        echo(f"  {number:>2}  {id_text}{more}")
    while True:
        text = prompt("Which? Numbers or ids with commas; * is all, also those to come", default="*")
        chosen = parse_selection(text, list(names))
        problem = chosen if isinstance(chosen, str) else _unlisted_problem(chosen, names, answers)
        if problem is not None:
            echo(problem)
        elif isinstance(chosen, list):
            return [(project, names.get(project, "")) for project in chosen]


def _unlisted_problem(chosen: Sequence[str], names: Mapping[str, str], answers: Answers) -> str | None:
    """Returns a sentence about the first project that is probably a typo; None if there is none."""
    wrong = [project for project in chosen if project not in names and not set(project) & set("*?[")]
    # The simulator has every project; an orchestrator that lists none may still have them.
    if not wrong or not names or answers.is_embedded:
        return None
    return f"The orchestrator lists no project {wrong[0]}."


def _with_plugins(draft: Draft, config: Path, answers: Answers) -> Draft:
    from dataclasses import replace

    from aintandem_notify import log

    log.configure("warning", "text")  # shows the plugins' problems
    for kind in _plugin_types(answers):
        instance = _set_up_plugin(kind, draft, config, answers)
        if instance is not None:
            draft = replace(draft, instances=[*draft.instances, instance])
    if not draft.instances:
        echo("No plugin, so nobody will be notified; add one to the file.")
    return draft


def _plugin_types(answers: Answers) -> list[str]:
    from aintandem_notify.init_wizard import PLUGINS

    types = list(PLUGINS)
    requested = [*answers.plugins, *(kind for kind, _ in answers.settings)]
    if unknown := [kind for kind in requested if kind not in PLUGINS]:
        raise click.UsageError(f"no plugin to set up is called {unknown[0]}; there are {', '.join(types)}")
    if requested or not answers.is_interactive:
        return list(dict.fromkeys(requested)) or ["console"]
    echo()
    echo("Plugins:")
    for number, kind in enumerate(types, 1):
        echo(f"  {number:>2}  {kind:<15} {PLUGINS[kind].about}")
    while True:
        chosen = parse_selection(prompt("Which? Numbers or names with commas", default="1"), types, only=True)
        if not isinstance(chosen, str):
            return chosen
        echo(chosen)


def _set_up_plugin(kind: str, draft: Draft, config: Path, answers: Answers) -> DraftInstance | None:
    """Asks for the plugin's settings until a test notification is delivered.

    Returns None if the user leaves the plugin out.
    """
    from dataclasses import replace

    from aintandem_notify.diagnostics import choose_sample, send_sample
    from aintandem_notify.foundation.clock import SystemClock
    from aintandem_notify.init_wizard import PLUGINS, first_problem, load_draft

    while True:
        instance = _ask_questions(kind, answers)
        draft_with = replace(draft, instances=[*draft.instances, instance])
        if (problem := first_problem(draft_with, config)) is not None:
            if not PLUGINS[kind].questions:
                raise click.ClickException(f"{kind}: {problem}")
            answers.reject_plugin(kind, f"{kind}: {problem}")
            continue
        loaded = load_draft(draft_with, config)
        now = SystemClock().now()
        sample = choose_sample(loaded.config, instance.full_name, now, event_type="task_completed")
        result = run_interruptible(send_sample, loaded, sample)
        if result.is_ok:
            echo(f"{result.name}: a test notification was delivered")
            return instance
        sentence = f"{result.name}: the test notification was not delivered: {result.detail}"
        match answers.choose(sentence, ("again", "keep", "leave out")):
            case "keep":
                return instance
            case "leave out":
                return None
        answers.reject_plugin(kind)


def _ask_questions(kind: str, answers: Answers) -> DraftInstance:
    from aintandem_notify.init_wizard import PLUGINS, DraftInstance

    plugin = PLUGINS[kind]
    keys: dict[str, str] = {}
    secrets: dict[str, str] = {}
    if plugin.questions and answers.is_interactive:
        echo()
        echo(kind)
    for question in plugin.questions:
        if question.unless is not None and question.unless in {**keys, **secrets}:
            continue
        value = answers.setting(kind, question)
        if value:
            (secrets if question.is_secret else keys)[question.key] = value
    return DraftInstance(kind, plugin.instance, keys, secrets)


def _with_preset(draft: Draft, answers: Answers) -> Draft:
    from dataclasses import replace

    from aintandem_notify.init_wizard import PRESETS, is_time_zone, machine_time_zone

    if not draft.instances:
        return draft
    if not answers.knows("preset") and answers.is_interactive:
        echo()
        echo("Notify of:")
        for number, preset in enumerate(PRESETS.values(), 1):
            echo(f"  {number:>2}  {preset.name:<15} {preset.about}")
    names = list(PRESETS)
    while True:
        name = answers.ask("preset", "Which? A number or a name", default="1")
        chosen = parse_selection(name, names, only=True)
        if isinstance(chosen, list) and len(chosen) == 1:
            break
        problem = chosen if isinstance(chosen, str) else "Pick one."
        answers.reject("preset", f"{problem} The presets are {', '.join(names)}.")
    draft = replace(draft, preset=PRESETS[chosen[0]])
    while draft.preset.has_night:
        zone = answers.ask("time_zone", "Time zone of the night", default=machine_time_zone())
        if is_time_zone(zone):
            return replace(draft, time_zone=zone)
        answers.reject("time_zone", f"There is no time zone {zone}; a name is Europe/Berlin or UTC, for example.")
    return draft


def _write(draft: Draft, config: Path, answers: Answers, *, force: bool) -> None:
    from aintandem_notify.init_wizard import conflicting_files, write

    for file in [] if force else conflicting_files(draft, config):
        answers.require_yes(
            f"{file} holds something else. Replace it?", f"{file} holds something else; --force replaces it"
        )
    try:
        written = write(draft, config)
    except OSError as error:
        raise click.ClickException(f"nothing is written: {error.filename}: {error.strerror}") from None
    echo()
    for file in written:
        echo(f"Wrote {file}" + ("" if file == config else ", readable for you only"))
    echo_lines("\nNow start it:\n")
    echo(f"    aintandem-notify run {shlex.quote(str(config))}")
    echo()
    echo(f"Or see who is notified first:  aintandem-notify check {shlex.quote(str(config))}")
