"""The guide and the docstrings are right: every example runs against the simulator."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio

from aintandem_notify import (
    AInTandemClient,
    SubmittedTask,
    UnknownEvent,
    WorkflowEvent,
    WorkflowExecutionStartedEvent,
    client,
    errors,
)
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.domain.samples import sample_event
from aintandem_notify.simulator import open_simulator
from aintandem_notify.simulator.simulation import Simulator
from aintandem_notify.simulator.world.sandboxes import OperationKind
from support.clients import logged_in

DOCS = Path(__file__).parents[2] / "docs"
URL = "http://localhost:9900"
"""The address in the examples; the command ``simulate`` listens there."""
P = "project-123"
SLOWLY = 0.001
"""A speed at which no run ends before the line that pauses, stops or cancels it."""
ENDS_SOMETHING = re.compile(r"\.(pause|cancel|cancel_task|stop)\(")
ALL_GO_WELL = 92
"""A seed with which all first tasks of the project complete."""


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def is_program(code: str) -> bool:
    return "trio.run(" in code


PAGES = {page.name: python_blocks(page) for page in sorted((DOCS / "guide").glob("*.md"))}
PROGRAMS = [
    pytest.param(code, id=f"{name}-{number}")
    for name, blocks in [*PAGES.items(), ("library", python_blocks(DOCS.parent / "README.md"))]
    for number, code in enumerate(blocks)
    if is_program(code)
]
FRAGMENTS = {name: [code for code in blocks if not is_program(code)] for name, blocks in PAGES.items()}


async def execute(code: str, name: str, names: dict[str, Any]) -> None:
    """Run code with ``await`` at the top level."""
    compiled = compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    coroutine = eval(compiled, names)
    if coroutine is not None:
        await coroutine


# The pages.


def test_the_guide_has_the_sections_of_the_original() -> None:
    text = (DOCS / "guide" / "progress.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    for expected in (
        "Connections",
        "1. A task",
        "2. A workflow",
        "3. A sandbox",
        "4. All that happens in a project",
        "5. Connections by hand",
        "6. Unsubscribing",
        "Task events",
        "Workflow events",
        "Sandbox events",
        "Tracking progress",
        "Showing a task's terminal",
        "Monitoring a connection",
        "Next steps",
        "FAQ",
    ):
        assert expected in headings
    for name in client.__all__:
        if name.endswith("Event") and name not in ("UnknownEvent", "ProgressEvent"):
            assert f"| `{name}` |" in text, "each event has its row"


def test_every_error_of_the_library_has_its_row() -> None:
    text = (DOCS / "guide" / "errors.md").read_text(encoding="utf-8")
    of_the_agent = (errors.StoreError, errors.PluginError, errors.Outcome)
    for name in errors.__all__:
        error = getattr(errors, name)
        if issubclass(error, Exception) and not issubclass(error, of_the_agent):
            assert f"`{name}`" in text


def test_every_setting_has_its_row() -> None:
    text = (DOCS / "guide" / "login.md").read_text(encoding="utf-8")
    settings = set(inspect.signature(AInTandemClient).parameters) - {"clock"}  # for tests
    assert [name for name in settings if f"`{name}`" not in text] == []


def test_links_have_targets() -> None:
    for page in (DOCS / "guide").glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


@pytest.mark.parametrize("code", PROGRAMS)
async def test_programs_run(code: str, simulator: Simulator, tmp_path: Path) -> None:
    assert URL in code
    code = code.replace(URL, simulator.url).replace("getpass.getpass()", '"admin123"')
    program = tmp_path / "program.py"
    program.write_text(code, encoding="utf-8")
    with trio.fail_after(300):
        done = await trio.run_process(
            [sys.executable, "-W", "error", str(program)],
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env={"HOME": str(tmp_path), "PATH": ""},
        )
    assert done.returncode == 0, done.stdout.decode()
    assert done.stdout.strip(), "it tells something"
    assert b"warning" not in done.stdout


@pytest.mark.parametrize("page", [name for name, blocks in FRAGMENTS.items() if blocks])
async def test_fragments_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks of a page in order, as a reader would type them."""
    async with open_simulator(seed=ALL_GO_WELL, speed=20) as simulator, logged_in(simulator) as admin:
        simulator.tasks.set_limit(P, 1)
        names: dict[str, Any] = {"trio": trio, "AInTandemClient": AInTandemClient}
        for number, code in enumerate(FRAGMENTS[page], start=1):
            names["client"] = admin
            slowly = ENDS_SOMETHING.search(code) is not None
            simulator.world.speed = SLOWLY if slowly else 20
            await execute(code.replace(URL, simulator.url), f"{page}, fragment {number}", names)
            for task in simulator.tasks.of(P) if slowly else ():
                if not task.ended.is_set():
                    simulator.tasks.cancel(P, task.id)  # the next one waits for its turn
    assert "Traceback" not in capsys.readouterr().err


async def test_an_execution_is_followed_to_its_end_even_if_it_is_cancelled() -> None:
    (code,) = [code for code in FRAGMENTS["workflows.md"] if "progress.events" in code]
    pause = "move_on_after(30)"
    assert pause in code
    async with open_simulator(speed=SLOWLY) as simulator, logged_in(simulator) as admin:

        def cancel(event: WorkflowEvent | UnknownEvent) -> None:
            if isinstance(event, WorkflowExecutionStartedEvent):
                simulator.workflows.cancel(event.execution_id)

        await admin.subscribe_to_workflow(P, cancel)
        names: dict[str, Any] = {"trio": trio, "client": admin}
        await execute(code.replace(pause, "move_on_after(0.01)"), "workflows.md", names)
    assert names["execution"].status == "cancelled"


# The docstrings.


def documented() -> Iterator[tuple[str, Any]]:
    """Every public class of the library, and its public methods and properties."""
    for name in client.__all__:
        value = getattr(client, name)
        if isinstance(value, type):  # ``ProgressEvent`` is a union of classes
            yield name, value
            for inner, member in vars(value).items():
                if not inner.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    yield f"{name}.{inner}", member


def examples() -> Iterator[Any]:
    for name, value in documented():
        # Lines indented deeper than the closing quotes; getdoc would remove the example's margin.
        margin = len((value.__doc__ or "").rpartition("\n")[2])
        for code in re.findall(rf"(?:^(?: {{{margin + 4},}}\S.*)?\n)+", value.__doc__ or "", re.MULTILINE):
            if code.strip():
                yield pytest.param(name, dedent(code), id=name)


DOCUMENTED = [pytest.param(name, value, id=name) for name, value in documented()]
EXAMPLES = list(examples())
SHOWN = {parameter.values[0] for parameter in EXAMPLES}
TYPES = {value.__name__: kind for kind, value in EVENT_TYPES.items()} | {"Artifact": "artifact"}
NEW_TYPE = "of_a_new_kind"
"""An event of an unknown type."""
RAISES = re.compile(r"\b[Rr]aises?\b")
ALL_OF_THEM_RAISE = re.compile(r"\b(All\s+(of\s+(its\s+)?)?|Its\s+)\w+\s+raise\b")


def is_waiting(call: object) -> bool:
    """Whether the call awaits and so can fail; the others only read memory."""
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(inspect.unwrap(call))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), DOCUMENTED)
def test_every_name_is_documented_with_an_example(name: str, value: Any) -> None:
    """A call has an example of its own or in its class; a class may leave the examples to its calls."""
    assert inspect.getdoc(value), name
    owner, _, method = name.partition(".")
    if not method:
        calls = [f"{name}.{inner}" for inner, member in vars(value).items() if inspect.isfunction(member)]
        public = {call for call in calls if "._" not in call}
        assert name in SHOWN or (public and public <= SHOWN)
    elif inspect.isfunction(value):
        assert {name, owner} & SHOWN


@pytest.mark.parametrize(("name", "call"), [case for case in DOCUMENTED if is_waiting(case.values[1])])
def test_every_call_says_what_it_raises(name: str, call: Any) -> None:
    of_all = inspect.getdoc(getattr(client, name.partition(".")[0])) or ""
    assert RAISES.search(inspect.getdoc(call) or "") or ALL_OF_THEM_RAISE.search(of_all)


async def prepared(simulator: Simulator, name: str) -> Mapping[str, str]:
    """Runs in the state that the example needs, and their ids, which replace "task-1" and so on."""
    cancels = name == "Tasks.cancel_task"
    task = simulator.tasks.submit(P, outcome="completed", seconds=10_000 if cancels else 1)
    execution = simulator.workflows.create(P, outcome="completed", pauses=False, seconds=10_000)
    if name in {"Workflows.pause", "Workflows.resume"}:
        simulator.workflows.start(execution.id)
    if name == "Workflows.resume":
        simulator.workflows.pause(execution.id)
    sandbox = simulator.sandboxes.create(P, breaks=False)
    if name == "Sandboxes.stop":
        simulator.sandboxes.start(sandbox.id)
    operation = simulator.sandboxes.begin(simulator.sandboxes.create(P).id, OperationKind.START)
    return {
        "task-1": task.id,
        "execution-1": execution.id,
        "sandbox-1": sandbox.id,
        "operation-1": operation.id,
        URL: simulator.url,
    }


@pytest.mark.parametrize(("name", "code"), EXAMPLES)
async def test_examples_run(
    name: str, code: str, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    async with logged_in(simulator) as admin:
        things = await prepared(simulator, name)
        for placeholder, thing in things.items():
            code = code.replace(placeholder, thing)
        names = dict(vars(client)) | {"client": admin, "task": SubmittedTask(task_id=things["task-1"])}
        names["event"] = sample_event(TYPES.get(name, NEW_TYPE))
        await execute(code, name, names)
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    assert output.out.strip() or "match event:" not in code, "it was the right event for its example"
