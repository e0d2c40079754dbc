"""``init`` as a newcomer types it, with its answers on stdin, and as a script calls it."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from aintandem_notify.simulator import open_simulator
from support.agent_process import logged, open_agent
from support.commands import run_command
from support.receivers import open_webhook_receiver

WRITTEN = "config.toml"


def files_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def test_a_newcomer_without_a_server_is_watching_in_a_minute(tmp_path: Path) -> None:
    done = await run_command("init", cwd=tmp_path, answers="simulator\n1\nconsole, 3\n\n\n")
    assert (done.code, done.err) == (0, "")
    assert 'Test: Task "' in done.out
    assert "file_log.audit: a test notification was delivered" in done.out
    assert "aintandem-notify run config.toml" in done.out
    assert files_in(tmp_path).keys() == {WRITTEN, "notifications.jsonl"}
    check = await run_command("check", cwd=tmp_path)
    assert (check.code, check.err) == (0, "")
    async with open_agent("run", cwd=tmp_path) as agent:
        test, first, *_ = await logged(tmp_path, 2)
        agent.terminate()
        assert await agent.wait() == 0
    assert test["title"].startswith("Test: ")
    assert first["project"]["id"] == "project-123"


async def test_what_is_wrong_is_said_and_asked_again_until_it_works(tmp_path: Path) -> None:
    async with open_simulator(seed=1) as simulator, open_webhook_receiver(secret=None) as receiver:
        answers = [
            "localhost:9900",
            "http://127.0.0.1:1",
            f"{simulator.url}/",
            "admin",
            "nope",
            "admin",
            "admin123",
            "9",
            "nowhere",
            "1, project-4*",
            "nonsense",
            "webhook",
            "no-url",
            "",
            receiver.url,
            "",
            "5",
            "1, 2",
            "night",
            "Mars/Crater",
            "Asia/Tokyo",
        ]
        done = await run_command("init", "night.toml", cwd=tmp_path, answers="\n".join(answers) + "\n")
        assert (done.code, done.err) == (0, ""), done
        for sentence in (
            "The URL should begin with http:// or https://",
            "No usable orchestrator at http://127.0.0.1:1:",
            "The orchestrator refuses this login:",
            "There is no number 9.",
            "The orchestrator lists no project nowhere.",
            "There is no nonsense.",
            "webhook: ",
            "webhook.ops: a test notification was delivered",
            "There is no number 5. The presets are ends, failures, night.",
            "Pick one. The presets are",
            "There is no time zone Mars/Crater; a name is Europe/Berlin or UTC, for example.",
        ):
            assert sentence in done.out
        assert done.out.index("No usable orchestrator") < done.out.index("Username"), (
            "nobody types a login for nobody"
        )
        check = await run_command("check", "--connect", "night.toml", cwd=tmp_path)
        assert check.code == 0, check
        assert "held from 22:00 to 07:00 Asia/Tokyo, unless critical, then a digest" in check.out
    files = files_in(tmp_path)
    assert files.keys() == {
        "night.toml",
        "secrets/.gitignore",
        "secrets/night.password",
        "secrets/night.webhook.ops.url",
    }
    assert files["secrets/night.password"] == "admin123\n"
    assert "admin123" not in files["night.toml"] + done.out
    for name in files.keys() - {"night.toml"}:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert 'id = "project-4*"' in files["night.toml"]


@pytest.mark.parametrize(("answer", "kept"), [("k", True), ("l", False), ("a\nhttp://127.0.0.1:1/y\n\nk", True)])
async def test_a_test_that_does_not_arrive_leaves_the_choice(answer: str, kept: bool, tmp_path: Path) -> None:
    answers = f"simulator\n*\nwebhook\nhttp://127.0.0.1:1/x\n\n{answer}\n\n"
    done = await run_command("init", cwd=tmp_path, answers=answers)
    assert (done.code, done.err) == (0, "")
    assert "webhook.ops: the test notification was not delivered: " in done.out
    assert ("\n[plugins.webhook.ops]" in files_in(tmp_path)[WRITTEN]) == kept
    assert (await run_command("check", cwd=tmp_path)).code == 0


async def test_a_script_gives_it_all_and_is_asked_nothing(tmp_path: Path) -> None:
    async with open_simulator(seed=1) as simulator:
        options = ["--url", simulator.url, "--project", "project-123", "--plugin", "console", "--yes"]
        options += ["--set", "file_log.path=n.jsonl"]
        environ = {"AINTANDEM_PASSWORD": "admin123"}
        done = await run_command("init", *options, cwd=tmp_path, environ=environ)
        assert (done.code, done.err) == (0, "")
        again = await run_command("init", *options, cwd=tmp_path, environ=environ)
        assert (again.code, again.err) == (1, "Error: config.toml exists; --force replaces it\n")
        (tmp_path / "pw").write_text("wrong\n", encoding="utf-8")
        wrong = await run_command("init", *options, "--password-file", "pw", "--force", cwd=tmp_path)
        assert wrong.code == 1
        assert "refuses this login" in wrong.err
        forced = await run_command("init", *options, "--force", cwd=tmp_path, environ=environ)
        assert forced.code == 0
        assert (await run_command("check", "--connect", cwd=tmp_path)).code == 0
    assert json.loads(files_in(tmp_path)["n.jsonl"].splitlines()[0])["title"].startswith("Test: ")


@pytest.mark.parametrize("preset", ["ends", "failures", "night"])
async def test_a_preset_is_a_rule_that_check_describes(preset: str, tmp_path: Path) -> None:
    options = ["--yes", "--url", "simulator", "--plugin", "console", "--preset", preset]
    done = await run_command("init", *options, cwd=tmp_path, environ={"TZ": "Europe/Vienna"})
    assert (done.code, done.err) == (0, "")
    check = await run_command("check", cwd=tmp_path)
    assert (check.code, check.err) == (0, "")
    assert ("failures: to console.terminal" in check.out) == (preset != "ends")
    assert ("one message for each project after 30s" in check.out) == (preset != "ends")
    assert ("held from 22:00 to 07:00 Europe/Vienna" in check.out) == (preset == "night")


async def test_a_token_in_place_of_a_login(tmp_path: Path) -> None:
    async with open_simulator(seed=1) as simulator:
        token = simulator.tokens.login("admin").token
        answers = [simulator.url, "", "two words", "", "nonsense", "", token, "1", "1", "1"]
        done = await run_command("init", cwd=tmp_path, answers="\n".join(answers) + "\n")
        assert (done.code, done.err) == (0, ""), done
        assert "The orchestrator refuses this login: a token is one word" in done.out
        assert "The orchestrator refuses this login: the orchestrator refused the token" in done.out
        files = files_in(tmp_path)
        assert files.keys() == {WRITTEN, "secrets/.gitignore", "secrets/token"}
        assert files["secrets/token"] == f"{token}\n"
        assert stat.S_IMODE((tmp_path / "secrets" / "token").stat().st_mode) == 0o600
        assert token not in files[WRITTEN] + done.out
        assert "\nusername" not in files[WRITTEN]
        (tmp_path / "given").write_text(f"{token}\n", encoding="utf-8")
        script = ["init", "again.toml", "--yes", "--url", simulator.url, "--token-file", "given"]
        assert (await run_command(*script, cwd=tmp_path)).code == 0
        for config in (WRITTEN, "again.toml"):
            check = await run_command("check", "--connect", config, cwd=tmp_path)
            assert check.code == 0, check


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("--yes --token-file t --username u", 2, "--token-file replaces --username and --password-file"),
        ("--yes --token-file nope", 1, "cannot read nope: No such file"),
        ("--yes", 1, "the password is missing; give it with --password-file or AINTANDEM_PASSWORD"),
        ("--yes --url localhost", 1, "The URL should begin with http://"),
        ("--yes --url simulator --plugin slack", 1, "slack needs bot_token; give it with --set slack.bot_token="),
        ("--yes --url simulator --plugin slak", 2, "no plugin to set up is called slak; there are console,"),
        ("--yes --url simulator --set nonsense", 2, "--set takes TYPE.KEY=VALUE"),
        ("--yes --url simulator --set slack.webhook_url=@nope", 1, "cannot read nope: No such file"),
        ("--yes --url simulator --set slack.webhook_url=x", 1, "slack: webhook_url is not a URL"),
        ("--yes --password-file nope", 1, "cannot read nope: No such file"),
        ("--yes --url simulator --preset nigt", 1, "There is no nigt. The presets are ends, failures, night."),
        ("--yes --url simulator --preset night --time-zone Mars", 1, "There is no time zone Mars;"),
        ("sub/config.toml", 1, "there is no folder sub"),
        (".", 1, ". is a folder; name a file in it"),
    ],
)
async def test_what_a_script_gets_wrong_is_a_sentence(
    arguments: str, code: int, sentence: str, tmp_path: Path
) -> None:
    done = await run_command("init", *arguments.split(), cwd=tmp_path)
    assert done.code == code
    assert sentence in done.err
    assert files_in(tmp_path) == {}


async def test_nothing_is_overwritten_without_a_yes(tmp_path: Path) -> None:
    (tmp_path / WRITTEN).write_text("mine", encoding="utf-8")
    done = await run_command("init", cwd=tmp_path, answers="\n")
    assert (done.code, done.err) == (1, "Error: nothing is changed\n")
    (tmp_path / WRITTEN).unlink()
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "webhook.ops.url"
    secret.write_text("https://example.org/old", encoding="utf-8")
    answers = "simulator\n*\nwebhook\nhttp://127.0.0.1:1/x\n\nk\n"
    done = await run_command("init", cwd=tmp_path, answers=answers + "\nn\n")
    assert (done.code, done.err) == (1, "Error: nothing is changed\n")
    assert "webhook.ops.url holds something else. Replace it?" in done.out
    assert files_in(tmp_path) == {"secrets/webhook.ops.url": "https://example.org/old"}
    assert (await run_command("init", cwd=tmp_path, answers=answers + "\ny\n")).code == 0
    assert files_in(tmp_path)["secrets/webhook.ops.url"] == "http://127.0.0.1:1/x\n"


async def test_answers_that_end_too_soon_write_nothing(tmp_path: Path) -> None:
    done = await run_command("init", cwd=tmp_path, answers="simulator\n*\n")
    assert done.code == 1
    assert done.err.strip() == "Aborted!"
    assert files_in(tmp_path) == {}


class Terminal:
    """The command ``init`` at a pseudo terminal: its process and its output so far."""

    def __init__(self, process: trio.Process, descriptor: int) -> None:
        self.process = process
        self.output = b""
        self._descriptor = descriptor

    async def answer(self, question: str, line: str) -> None:
        """Types the line once the question is there."""
        await self.until(question)
        os.write(self._descriptor, f"{line}\n".encode())

    async def until(self, text: str) -> None:
        """Waits for the text, and forgets the output up to its end."""
        while text.encode() not in self.output:
            await trio.lowlevel.wait_readable(self._descriptor)
            self.output += os.read(self._descriptor, 65536)
        assert b"admin123" not in self.output
        self.output = self.output.partition(text.encode())[2]


@asynccontextmanager
async def at_a_terminal(folder: Path, *arguments: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    try:
        with trio.fail_after(180):
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "aintandem_notify", "init", *arguments],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm", "TZ": "Europe/Vienna"},
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            yield Terminal(process, ours)
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are made otherwise there")
async def test_a_password_is_not_shown_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    async with open_simulator(seed=1) as simulator, at_a_terminal(tmp_path, "--url", simulator.url) as terminal:
        await terminal.answer("Username (empty: you have a token): ", "admin")
        await terminal.answer("Password: ", "admin123")
        await terminal.until("Which? ")
        terminal.process.send_signal(signal.SIGINT)
        await terminal.until("Aborted!")
        assert await terminal.process.wait() == 1
    assert files_in(tmp_path) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are made otherwise there")
async def test_a_preset_is_picked_and_the_zone_of_the_machine_is_offered(tmp_path: Path) -> None:
    async with at_a_terminal(tmp_path, "--url", "simulator", "--project", "*", "--plugin", "console") as terminal:
        await terminal.until("only failures, and many at once as one message")
        await terminal.answer("Which? A number or a name [1]: ", "3")
        await terminal.answer("Time zone of the night [Europe/Vienna]: ", "")
        await terminal.until("Now start it:")
        assert await terminal.process.wait() == 0
    assert 'tz = "Europe/Vienna"' in files_in(tmp_path)[WRITTEN]
