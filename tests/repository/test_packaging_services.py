"""The command line accepts the arguments in the systemd units and the Dockerfile; nothing is built or started."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from aintandem_notify.agent import EXIT_GRACE_S
from aintandem_notify.cli.main import PROGRAM, commands
from aintandem_notify.cli.options import EXIT_WRONG
from aintandem_notify.config import DeliveryConfig, parse_duration

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
UNITS = {"system": PACKAGING / "systemd" / "system", "user": PACKAGING / "systemd" / "user"}
CONFIG = Path("/config/config.toml")


def parsed(arguments: Sequence[str]) -> click.Context:
    """The command and options that the command line parses; raises KeyError or UsageError for invalid ones."""
    name, *options = arguments
    return commands.commands[name].make_context(name, options)


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, with its arguments."""

    name: str
    arguments: str


def instructions() -> list[list[Instruction]]:
    """The instructions of each stage, in order."""
    text = (PACKAGING / "docker" / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[Instruction]] = []
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, " ".join(arguments.split())))
    return stages


def only(stage: list[Instruction], name: str) -> str:
    (arguments,) = [instruction.arguments for instruction in stage if instruction.name == name]
    return arguments


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest) -> configparser.SectionProxy:
    """The section [Service] of a unit."""
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    (path,) = UNITS[request.param].iterdir()
    assert path.name == f"{PROGRAM}.service"
    unit.read_string(path.read_text(encoding="utf-8"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    return unit["Service"]


def seconds(text: str) -> float:
    """The seconds in a time of systemd."""
    return parse_duration(text.replace("min", "m"))


def test_the_command_accepts_the_arguments_of_a_unit(unit: configparser.SectionProxy) -> None:
    program, *arguments = shlex.split(unit["ExecStart"])
    assert Path(program).name == PROGRAM
    context = parsed(arguments)
    assert context.command.name == "run"
    assert context.params["config"].name == "config.toml"
    assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_a_unit_waits_for_the_agent_and_watches_it(unit: configparser.SectionProxy) -> None:
    assert unit["Type"] == "notify"  # systemd 252 does not know notify-reload
    assert seconds(unit["WatchdogSec"]) >= 30
    drain_timeout = DeliveryConfig().drain_timeout
    assert seconds(unit["TimeoutStopSec"]) > drain_timeout + EXIT_GRACE_S


def test_a_wrong_config_makes_no_loop(unit: configparser.SectionProxy) -> None:
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"] == str(EXIT_WRONG)


def test_the_service_of_the_machine_runs_as_the_user_that_is_made_for_it() -> None:
    unit = (UNITS["system"] / f"{PROGRAM}.service").read_text(encoding="utf-8")
    sysusers = (PACKAGING / "systemd" / f"{PROGRAM}.sysusers").read_text(encoding="utf-8")
    (name, home) = re.findall(r'^u (\S+) - ".*" (\S+)$', sysusers, re.MULTILINE)[0]
    assert f"\nUser={name}\n" in unit
    assert home == f"/var/lib/{name}"
    assert f"\nStateDirectory={name}\n" in unit


def shell_lines(heading: str) -> list[str]:
    """The lines of all shell blocks under a heading of the page about running the agent."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]


def installs() -> list[str]:
    """The calls of install(1) in the section about systemd."""
    return [part.strip() for line in shell_lines("systemd") for part in line.split("&&") if "install -" in part]


def test_every_install_command_of_the_page_works_on_a_machine_without_folders_for_it(tmp_path: Path) -> None:
    # Debian 12 has /etc/systemd/system, but no /etc/sysusers.d.
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    (tmp_path / "config.toml").touch()
    group = "-g aintandem-notify"
    commands = [
        line.replace(group, "").replace("~", str(tmp_path)).replace(" /etc", f" {tmp_path}/etc")
        for line in installs()
    ]
    assert len(commands) == 5
    assert any(group in line for line in installs())
    (tmp_path / "packaging").symlink_to(PACKAGING)
    for command in commands:
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "etc" / "sysusers.d" / f"{PROGRAM}.conf").is_file()
    assert (tmp_path / ".config" / "systemd" / "user" / f"{PROGRAM}.service").is_file()


SYSUSERS = PACKAGING / "systemd" / f"{PROGRAM}.sysusers"


def test_the_user_is_described_in_words_that_systemd_252_knows() -> None:
    # Its manual has the types u, g, m and r; "u!" came with 257. A line has type, name, id, GECOS, home and shell.
    lines = [line for line in SYSUSERS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for line in lines:
        type_, name, identifier, *rest = shlex.split(line)
        assert type_ in {"u", "g", "m", "r"}
        assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", name)
        assert identifier == "-" or identifier.isdigit()
        assert len(rest) <= 3
        assert ":" not in "".join(rest)
    assert f"systemd-sysusers /etc/sysusers.d/{PROGRAM}.conf" in shell_lines("systemd")


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_systemd_makes_the_user(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", "-"],
        input=SYSUSERS.read_bytes(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"Creating user 'aintandem-notify'" in done.stdout + done.stderr


def test_the_image_is_built_from_files_of_the_repository() -> None:
    build, image = instructions()
    bases = [only(stage, "FROM").split()[0] for stage in (build, image)]
    # A virtual environment runs only with the Python that created it.
    assert bases[0] == bases[1]
    copied = [arguments.split()[:-1] for name, arguments in build if name == "COPY"]
    sources = [source for paths in copied for source in paths]
    assert all((ROOT / source).exists() for source in sources)
    ignored = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert all(package.split("/")[0] in sources for package in [*packed, project["project"]["readme"]])
    (extra,) = re.findall(r'"\.\[(\w+)\]"', only(build, "RUN"))
    assert extra in project["project"]["optional-dependencies"]


def test_the_command_accepts_the_arguments_of_the_image_and_its_health_check() -> None:
    image = instructions()[1]
    assert json.loads(only(image, "ENTRYPOINT")) == [PROGRAM]
    run = parsed(json.loads(only(image, "CMD")))
    assert (run.command.name, run.params["config"]) == ("run", CONFIG)
    program, *arguments = json.loads(only(image, "HEALTHCHECK").partition("CMD ")[2])
    health = parsed(arguments)
    assert program == PROGRAM
    assert (health.command.name, health.params["config"], health.params["alive"]) == (
        "status",
        CONFIG,
        True,
    )


def test_the_image_runs_as_a_plain_user_and_keeps_its_state_in_a_volume() -> None:
    image = instructions()[1]
    names = [instruction.name for instruction in image]
    user = only(image, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert "RUN" not in names[names.index("USER") :]
    (volume,) = json.loads(only(image, "VOLUME"))
    environ = dict(pair.split("=", 1) for pair in only(image, "ENV").split())
    assert environ["XDG_STATE_HOME"] == environ["HOME"] == volume
    owner, group = user.split(":")
    assert f"install -d -o {owner} -g {group} -m 0700 {volume}" in only(image, "RUN")
    assert only(image, "STOPSIGNAL") == "SIGTERM"
    assert only(image, "WORKDIR") == str(CONFIG.parent)
