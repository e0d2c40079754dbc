"""Each command as a user types it: its output in the good case, and when something does not answer."""

import fcntl
import json
import os
import pty
import re
import struct
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from support.agent_process import open_agent
from support.commands import run_command
from support.configs import write_config
from support.raw_http import RestAnswer
from support.raw_orchestrator import Accept, Refuse, frame, open_raw_orchestrator
from support.receivers import WEBHOOK_SECRET, open_webhook_receiver

COMMANDS: Sequence[tuple[str, ...]] = [
    (),
    ("init",),
    ("run",),
    ("check",),
    ("test",),
    ("tail",),
    ("status",),
    ("deliveries",),
    ("deliveries", "list"),
    ("deliveries", "show"),
    ("deliveries", "retry"),
    ("deliveries", "drop"),
    ("destinations",),
    ("destinations", "list"),
    ("destinations", "pause"),
    ("destinations", "resume"),
    ("plugins",),
    ("plugins", "list"),
    ("plugins", "show"),
    ("schema",),
    ("simulate",),
]
BUILT_IN = {"console", "desktop_notify", "file_log", "slack", "webhook"}
CONSOLE = "[plugins.console.here]\n"
BEEP = """
from aintandem_notify.api import Notification, Plugin, PluginConfig, hookimpl

class Config(PluginConfig):
    times: int = 1

class Beep(Plugin[Config]):
    @hookimpl
    def deliver(self, notification: Notification) -> None:
        print("beep", notification.title, flush=True)
"""
NOT_READY = (
    BEEP
    + """
    @hookimpl
    def check(self) -> None:
        raise RuntimeError("the bell is broken")
"""
)


def write_plugin(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_every_help_has_an_example_and_cuts_nothing_off(command: tuple[str, ...], tmp_path: Path) -> None:
    done = await run_command(*command, "--help", cwd=tmp_path)
    assert done.code == 0
    assert done.err == ""
    assert re.search(r"^  (Example|Start with):  aintandem-notify ", done.out, re.MULTILINE)
    usage, _, body = done.out.partition("\n")
    assert usage.startswith("Usage: ")
    assert "..." not in body
    assert max(map(len, done.out.splitlines())) <= 80


async def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    from aintandem_notify import __version__

    assert (await run_command("--version", cwd=tmp_path)).out == f"aintandem-notify {__version__}\n"


async def test_check_shows_what_is_watched_and_who_gets_told_what(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        "http://127.0.0.1:1",
        CONSOLE,
        '[plugins.file_log.audit]\npath = "n.jsonl"\nevents = ["output"]\n',
        '[[rules]]\nname = "long ones"\nevents = ["task_failed", "task_completed"]\nprojects = ["sales-*"]\n',
        'when = "run.duration > 60"\nnotify = ["console.here"]\n',
        projects=("project-123", "sales-*"),
    )
    done = await run_command("check", config, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    *lines, empty, store = done.out.splitlines()
    assert (empty, store[:26]) == ("", "a new store is created at ")
    assert lines == [
        f"{config} is right.",
        "",
        "orchestrator  http://127.0.0.1:1",
        "projects      project-123, all that match sales-*",
        "plugins       console.here, file_log.audit",
        "",
        "Who is notified",
        "",
        "long ones: to console.here",
        "  only in projects  sales-*",
        "  only when  run.duration > 60",
        "  error    task_failed",
        "  success  task_completed",
        "file_log.audit: to file_log.audit",
        "  info  output",
        "the agent's own trouble: to console.here, file_log.audit",
        "  critical  login_failed",
        "  error     plugin_failed, destination_parked, store_degraded",
        "  warning   agent_degraded, feed_gap",
    ]


async def test_check_warns_of_floods(tmp_path: Path) -> None:
    slack = '[plugins.slack.team]\nwebhook_url = "https://hooks.slack.com/services/T0/B0/x"\nevents = ["output"]\n'
    done = await run_command("check", write_config(tmp_path, "simulator-not", slack), cwd=tmp_path)
    assert done.code == 2  # the URL is wrong; the next one is right
    done = await run_command("check", write_config(tmp_path, "http://localhost:9900", slack), cwd=tmp_path)
    assert done.code == 0
    assert "warning: rule slack.team sends every output event to slack.team" in done.out


async def terminal_output(*arguments: str | Path, cwd: Path, columns: int) -> str:
    """Returns the output of a command on a terminal with ``columns`` columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    output = bytearray()

    async def read() -> None:
        async with trio.lowlevel.FdStream(ours) as stream:
            try:
                async for chunk in stream:
                    output.extend(chunk)
            except trio.BrokenResourceError:  # Linux says so when the last writer is gone
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        done = await run_command(*arguments, cwd=cwd, stdout=theirs, environ={"TERM": "xterm-256color"})
        os.close(theirs)
    assert done.code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode()).replace("\r\n", "\n")


async def test_tables_fit_a_terminal_and_lose_nothing(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, "http://localhost:9900", '[plugins.console.here]\nevents = ["*", "connection/*", "agent/*"]\n'
    )
    narrow = await terminal_output("check", config.name, cwd=tmp_path, columns=60)
    whole = await run_command("check", config.name, cwd=tmp_path)
    # A path is not broken, so that it can be copied.
    assert max(len(line) for line in narrow.splitlines() if str(tmp_path) not in line) <= 60
    assert max(map(len, whole.out.splitlines())) > 200
    assert narrow.split() == whole.out.split()


def everything_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


async def test_check_connect_says_that_all_is_well_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins", "beep", BEEP)
    async with open_raw_orchestrator(projects=["project-123", "sales-1", "sales-2"]) as raw:
        projects = ("project-123", "sales-*")
        config = write_config(tmp_path, raw.url, CONSOLE, "[plugins.beep.x]\n", projects=projects)
        before = everything_in(tmp_path)
        done = await run_command("check", "--connect", config, cwd=tmp_path)
        requests = [f"{request.method} {request.path}" for request in raw.requests]
        await raw.until_left()
        assert [socket.close_code for socket in raw.sockets] == [1000] * 3
    assert (done.code, done.err) == (0, "")
    lines = done.out.partition("Does everything answer?\n\n")[2].splitlines()
    assert re.fullmatch(r"yes  store +/.*sqlite3: none yet; the agent creates it", lines[0])
    assert lines[1] == "yes  orchestrator          3 projects to watch"
    assert sorted(lines[2:5]) == [
        "yes  project project-123   its socket opens",
        "yes  project sales-1       its socket opens",
        "yes  project sales-2       its socket opens",
    ]
    assert lines[5:] == [
        "yes  console.here",
        f"-    {'beep.x':<20}  not tried: the plugin has no check; aintandem-notify test beep.x sends a sample",
    ]
    assert requests[-1].endswith("/auth/logout")
    assert everything_in(tmp_path) == before


async def test_check_connect_shows_how_to_look_at_a_watcher_which_test_would_refuse(tmp_path: Path) -> None:
    watcher = BEEP.replace("deliver(self, notification: Notification)", "on_event(self, event)")
    write_plugin(tmp_path / "plugins", "beep", watcher.replace("notification.title", "event.type"))
    config = write_config(tmp_path, "simulator", CONSOLE, "[plugins.beep.x]\n")
    done = await run_command("check", "--connect", config, cwd=tmp_path)
    assert re.search(
        r"^-    beep\.x +not tried: .* aintandem-notify plugins show beep\.x$", done.out, re.MULTILINE
    )
    assert "test beep.x" not in done.out


async def test_check_connect_says_no_for_a_project_that_nobody_could_watch(tmp_path: Path) -> None:
    async with open_raw_orchestrator(projects=["known", "proxied", "forbidden", "closing"]) as raw:
        raw.upgrades_by_project |= {
            "proxied": Refuse(404),
            "forbidden": Refuse(403),
            "closing": Accept(frame(struct.pack("!H", 4401), opcode=0x8)),
        }
        projects = ("known", "proxied", "forbidden", "closing", "unknown", "hr-*")
        config = write_config(tmp_path, raw.url, CONSOLE, projects=projects)
        done = await run_command("check", "--connect", config, cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    for line in (
        r"yes  orchestrator +4 projects to watch",
        r"yes  project known +its socket opens",
        r"NO   project proxied +the orchestrator answers HTTP 404 .* does a proxy .* pass WebSocket upgrades\?",
        r"NO   project forbidden +the orchestrator refused the token \(HTTP 403\); see the login in .*",
        r"NO   project closing +the orchestrator refused the token \(4401\); see the login in .*",
        r"NO   project unknown +the orchestrator does not know it; is the id in \[\[projects\]\] right\?",
        r"NO   project hr-\* +matches none of .* projects \(known, proxied, forbidden and 1 more\); is .*",
    ):
        assert re.search(f"^{line}$", done.out, re.MULTILINE), line


async def test_check_connect_says_what_does_not_answer(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins", "bell", NOT_READY)
    async with open_raw_orchestrator() as raw:
        config = write_config(tmp_path, raw.url, CONSOLE, "[plugins.bell.desk]\n", projects=("project-12",))
        unknown = await run_command("check", "--connect", config, cwd=tmp_path)
        refusal = RestAnswer({"success": False, "error": "invalid username or password"}, 401)
        raw.rest["POST /api/auth/login"] = refusal
        refused = await run_command("check", "--connect", config, cwd=tmp_path)
        raw.rest["POST /api/auth/login"] = RestAnswer(b"<html>", 404)
        raw.rest["POST /auth/login"] = RestAnswer(b"<html>", 404)
        elsewhere = await run_command("check", "--connect", config, cwd=tmp_path)
    # Not the port that was just released: another test may have it by now.
    config = write_config(tmp_path, "http://127.0.0.1:1", CONSOLE, "[plugins.bell.desk]\n")
    dead = await run_command("check", "--connect", config, cwd=tmp_path)
    assert [done.code for done in (unknown, refused, elsewhere, dead)] == [1] * 4
    assert [done.err for done in (unknown, refused, elsewhere, dead)] == [""] * 4
    assert re.search(r"NO   project project-12 +the orchestrator does not know it", unknown.out)
    assert re.search(r"NO   orchestrator +invalid username or password.*; see the login in \[orch", refused.out)
    assert re.search(
        r"NO   orchestrator +cannot connect to 127\.0\.0\.1:\d+: Connection refused; is url", dead.out
    )
    assert re.search(r"NO   orchestrator .*; is url in .* that of an orchestrator\?\n", elsewhere.out)
    broken = r"\nNO   bell\.desk +plugins/bell\.py:\d+: RuntimeError: the bell is broken\n"
    assert re.search(broken, unknown.out)
    assert "yes  console.here" in dead.out


async def test_test_sends_a_sample_that_says_it_is_one(tmp_path: Path) -> None:
    async with open_webhook_receiver() as webhook:
        config = write_config(
            tmp_path,
            "http://127.0.0.1:1",
            f'[plugins.webhook.ops]\nurl = "{webhook.url}"\nsecret = "{WEBHOOK_SECRET}"\n',
            '[[rules]]\nname = "mine"\nevents = ["task_failed"]\nnotify = ["webhook.ops"]\ntitle = "My own"\n',
        )
        done = await run_command("test", "webhook.ops", config, cwd=tmp_path)
        other = await run_command("test", "webhook.ops", config, "--event", "sandbox_error", cwd=tmp_path)
        webhook.fail_with(410)
        gone = await run_command("test", "webhook.ops", config, cwd=tmp_path)
    assert [(result.code, result.out.splitlines()[0], result.err) for result in (done, other)] == [
        (0, "webhook.ops: delivered", "")
    ] * 2
    assert (
        'The event is task_failed, and the texts are those of the rule "mine".\n  title     Test: My own\n'
        in done.out
    )
    assert "the texts are the default ones, as no rule of the config sends webhook.ops this event.\n" in other.out
    assert webhook.deliveries[0]["data"]["title"] == "Test: My own"
    assert [delivery["type"] for delivery in webhook.deliveries] == ["task_failed", "sandbox_error"]
    assert all(delivery["data"]["title"].startswith("Test: ") for delivery in webhook.deliveries)
    assert len(webhook.ids) == 2
    assert (gone.code, gone.out) == (1, "")
    assert "410" in gone.err
    for text in (gone.err, done.out):
        assert "canary" not in text
        assert WEBHOOK_SECRET not in text
    assert not (tmp_path / ".local").exists(), "a trial stores nothing"


async def test_test_does_not_wait_for_ever(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins", "slow", BEEP + "        import time\n        time.sleep(999)\n")
    config = write_config(tmp_path, "http://127.0.0.1:1", '[plugins.slow.x]\ntimeout = "100ms"\n')
    done = await run_command("test", "slow.x", config, cwd=tmp_path)
    assert done.code == 1
    assert done.err.endswith("slow.x: deliver has not ended after 1.1 s\n")


async def test_test_survives_a_plugin_that_closes_standard_output(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins", "closer", BEEP + "        import sys\n        sys.stdout.close()\n")
    config = write_config(tmp_path, "http://127.0.0.1:1", "[plugins.closer.x]\n")
    done = await run_command("test", "closer.x", config, cwd=tmp_path)
    assert done.code == 1
    assert done.err == "aintandem-notify: standard output is closed; a plugin may have done it\n"


async def test_plugins_list_shows_what_there_is_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    write_plugin(tmp_path / "plugins", "beep", BEEP)
    write_plugin(tmp_path / "mine", "broken", "import nowhere_to_be_found\n")
    here = await run_command("plugins", "list", "--plugins-dir", "plugins", cwd=tmp_path)
    mine = await run_command("plugins", "list", "--plugins-dir", "mine", cwd=tmp_path)
    assert (here.code, mine.code, here.err, mine.err) == (0, 0, "", "")
    header, *lines = here.out.splitlines()
    assert header.split() == ["plugin", "from", "hooks"]
    assert {line.split()[0] for line in lines} >= BUILT_IN | {"beep"}
    assert any(re.fullmatch(r"beep +file plugins/beep\.py +deliver", line) for line in lines)
    assert re.search(r"broken +cannot be used +mine/broken\.py:1: ModuleNotFoundError", mine.out)
    assert "beep" not in mine.out


async def test_plugins_list_of_a_config_shows_states_and_reasons(tmp_path: Path) -> None:
    write_plugin(tmp_path / "mine", "beep", BEEP)
    write_plugin(
        tmp_path / "mine",
        "late",
        "from contextlib import asynccontextmanager\n"
        + BEEP.replace(
            "    @hookimpl\n",
            "    @hookimpl\n    @asynccontextmanager\n    async def lifespan(self):\n"
            "        raise RuntimeError('no bell')\n        yield\n\n    @hookimpl\n",
        ),
    )
    config = write_config(tmp_path, "http://127.0.0.1:1", "[plugins.beep.desk]\n[plugins.late.x]\n")
    config.write_text('plugins_dir = "mine"\n' + config.read_text(encoding="utf-8"), encoding="utf-8")
    done = await run_command("plugins", "list", config, cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    _, beep, late = done.out.splitlines()
    assert beep.split() == ["beep.desk", "loaded", "yes"]
    assert re.fullmatch(r"late\.x +retrying +yes +lifespan.* mine/late\.py:\d+: RuntimeError: no bell", late)


async def test_schema_has_the_keys_of_all_plugins(tmp_path: Path) -> None:
    write_plugin(tmp_path / "mine", "beep", BEEP)
    write_plugin(tmp_path / "mine", "broken", "import nowhere_to_be_found\n")
    done = await run_command(
        "schema", "--plugins-dir", "mine", cwd=tmp_path, environ={"PYTHONIOENCODING": "ascii"}
    )
    assert (done.code, done.err) == (0, "")
    plugins = json.loads(done.out)["properties"]["plugins"]["properties"]
    assert set(plugins) >= BUILT_IN | {"beep"}
    assert "broken" not in plugins
    assert plugins["beep"]["additionalProperties"]["properties"]["times"]["type"] == "integer"


async def test_simulate_is_an_orchestrator_until_it_is_told_to_stop(tmp_path: Path) -> None:
    async with open_agent(
        "simulate", "--port", "0", "--project", "a", "--project", "b", cwd=tmp_path
    ) as simulator:
        line = await simulator.wait_for_output("orchestrator at ")
        match = re.fullmatch(
            r"orchestrator at (http://127.0.0.1:(\d+)), login admin / admin123, projects: a, b", line
        )
        assert match is not None
        config = write_config(tmp_path, match[1], CONSOLE, projects=("a", "whatever"))
        config.write_text(re.sub("password = .*", 'password = "admin123"', config.read_text()), encoding="utf-8")
        done = await run_command("check", "--connect", config, cwd=tmp_path)
        occupied = await run_command("simulate", "--port", match[2], cwd=tmp_path)
        simulator.terminate()
        assert await simulator.wait() == 0
    assert done.code == 0
    assert re.search("yes  orchestrator +2 projects to watch", done.out)
    assert (occupied.code, occupied.out) == (1, "")
    assert f"cannot listen on port {match[2]}: Address already in use; choose another with --port" in occupied.err
    assert "Traceback" not in simulator.everything
