"""The default text of every event type, as a reader sees it."""

import pytest
from msgspec import structs

from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.events import EVENT_TYPES, AgentStartedEvent, UnknownEvent
from aintandem_notify.rules import default_texts
from aintandem_notify.rules.default_texts import MAX_BODY_CHARACTERS
from support.happenings import NOW, SALES, happening, project_of, run_of

TAIL = "second to last line\nlast line\n"

READS = {
    "task_queued": ("info", 'Task "data-analysis" is queued', "", "Project: Sales pipeline, Attempt: 2"),
    "task_started": ("info", 'Task "data-analysis" started', "", "Project: Sales pipeline, Attempt: 2"),
    "step_progress": (
        "info",
        'Task "data-analysis": Load data is in progress',
        "reading a.csv",
        "Project: Sales pipeline, Progress: 40%, Attempt: 2",
    ),
    "output": ("info", 'Output of task "data-analysis"', "row 1\nrow 2", "Project: Sales pipeline, Attempt: 2"),
    "artifact": (
        "info",
        'Task "data-analysis" made report.pdf',
        "",
        "Project: Sales pipeline, Artifact: out/report.pdf, Type: application/pdf, Size: 1.2 MB, Attempt: 2",
    ),
    "task_completed": (
        "success",
        'Task "data-analysis" completed',
        '{\n  "rows": 12\n}',
        "Project: Sales pipeline, Duration: 2 min 10 s, Attempt: 2",
    ),
    "task_failed": (
        "error",
        'Task "data-analysis" failed',
        "KeyError: 'region'",
        "Project: Sales pipeline, Duration: 2 min 10 s, Step: Load data, Attempt: 2",
    ),
    "task_cancelled": (
        "warning",
        'Task "data-analysis" was cancelled',
        "",
        "Project: Sales pipeline, Duration: 2 min 10 s, Step: Load data, Attempt: 2",
    ),
    "workflow_execution_created": (
        "info",
        'Workflow "nightly-report" is about to run',
        "",
        "Project: Sales pipeline, Attempt: 2",
    ),
    "workflow_execution_started": (
        "info",
        'Workflow "nightly-report" started',
        "",
        "Project: Sales pipeline, Attempt: 2",
    ),
    "workflow_phase_started": (
        "info",
        'Workflow "nightly-report": phase build started',
        "",
        "Project: Sales pipeline, Attempt: 2",
    ),
    "workflow_phase_completed": (
        "info",
        'Workflow "nightly-report": phase ph1 completed',
        "ok",
        "Project: Sales pipeline, Attempt: 2",
    ),
    "workflow_execution_completed": (
        "success",
        'Workflow "nightly-report" completed',
        "",
        "Project: Sales pipeline, Duration: 2 min 10 s, Attempt: 2",
    ),
    "workflow_execution_failed": (
        "error",
        'Workflow "nightly-report" failed',
        "phase build failed",
        "Project: Sales pipeline, Phase: build, Duration: 2 min 10 s, Attempt: 2",
    ),
    "workflow_execution_paused": (
        "warning",
        'Workflow "nightly-report" is paused',
        "",
        "Project: Sales pipeline, Phase: build, Attempt: 2",
    ),
    "workflow_execution_resumed": (
        "info",
        'Workflow "nightly-report" resumed',
        "",
        "Project: Sales pipeline, Attempt: 2",
    ),
    "sandbox_created": (
        "info",
        'Sandbox "sb-1" was created',
        "",
        "Project: Sales pipeline, Image: python:3.12, Attempt: 2",
    ),
    "sandbox_started": ("info", 'Sandbox "sb-1" started', "", "Project: Sales pipeline, Attempt: 2"),
    "sandbox_stopped": (
        "info",
        'Sandbox "sb-1" stopped',
        "",
        "Project: Sales pipeline, Exit code: 137, Duration: 2 min 10 s, Attempt: 2",
    ),
    "sandbox_error": (
        "error",
        'Sandbox "sb-1" has an error',
        "out of memory",
        "Project: Sales pipeline, Duration: 2 min 10 s, Attempt: 2",
    ),
    "connection_connected": ("info", "Connected to project Sales pipeline", "", ""),
    "connection_disconnected": (
        "warning",
        "Connection to project Sales pipeline lost",
        "no heartbeat\nTrying again automatically.",
        "Close code: 1006",
    ),
    "connection_error": (
        "warning",
        "No connection to project Sales pipeline",
        "connection refused\nNot trying again.",
        "",
    ),
    "agent_started": ("info", "AInTandem Notify is running", "2 projects to watch, 1 plugin.", "Version: 1.0"),
    "agent_stopped": ("info", "AInTandem Notify has stopped", "asked to by SIGTERM", ""),
    "agent_degraded": ("warning", "No link to project p1", "p1 has no link: connection refused", ""),
    "agent_recovered": (
        "success",
        "Over after 5 min 12 s: No link to project p1",
        "p1 has no link: connection refused",
        "",
    ),
    "login_failed": ("critical", "Login to the orchestrator failed", "wrong username or password", ""),
    "plugin_failed": ("error", "Plugin slack.team does not work", "no module named foo", ""),
    "destination_parked": (
        "error",
        "Notifications to slack.team are held back",
        "token_revoked\nNotifications are kept, and sent once it works again.",
        "",
    ),
    "destination_recovered": ("success", "Notifications to slack.team work again", "", ""),
    "store_degraded": ("error", "AInTandem Notify has trouble with its store", "the disk is full", ""),
    "feed_gap": (
        "warning",
        "Nothing was heard of project Sales pipeline for 2 min 10 s",
        "3 runs changed meanwhile; missed events are reported now.\n1 run ended too long ago to be reported.",
        "Not heard from: 2026-01-05 23:58:00 UTC, Heard again: 2026-01-06 00:00:10 UTC",
    ),
    "run_stalled": (
        "warning",
        'Task "data-analysis" has been silent for 15 min',
        "Usually it takes 2 min 10 s.",
        "Project: Sales pipeline, Step: Load data, Progress: 40%, Watch: hung, Attempt: 2",
    ),
    "run_overdue": (
        "warning",
        'Task "data-analysis" has been running for 2 h',
        "",
        (
            "Project: Sales pipeline, Step: Load data, Watch: hung, Attempt: 2, "
            "Noticed: 1 h late: nothing could be heard when it was due"
        ),
    ),
    "run_waiting": (
        "warning",
        'Task "data-analysis" is still queued, after 10 min',
        "",
        "Project: Sales pipeline, Watch: hung, Attempt: 2",
    ),
    "run_missing": (
        "error",
        'Task "nightly-*" did not start as expected 2 times',
        "Expected at 2026-01-05 23:30:00 UTC; the last one started at 2026-01-04 23:30:10 UTC.",
        "Project: Sales pipeline, Watch: hung",
    ),
    "run_too_fast": (
        "warning",
        'Task "data-analysis" completed after only 2 s',
        "Usually it takes 2 min 10 s.",
        "Project: Sales pipeline, Watch: hung, Attempt: 2",
    ),
    "run_moving": (
        "info",
        'Task "data-analysis" is moving again',
        "",
        "Project: Sales pipeline, Step: Load data, Watch: hung, Attempt: 2",
    ),
    "run_arrived": (
        "info",
        'Task "data-analysis" has started, 30 min late',
        "",
        "Project: Sales pipeline, Watch: hung, Attempt: 2",
    ),
    "silence_ending": (
        "info",
        "A silence ends in 12 min and holds 12 notifications",
        (
            "a migration\nIt silences task train-*.\nWhen it ends, each destination gets one message about all "
            "that it held.\nTo end it now: aintandem-notify silences end 3f9a2b1c"
        ),
        "Ends: 2026-01-06 00:12:00 UTC, Owner: ana",
    ),
    "digest": (
        "info",
        "10 tasks failed, 1 sandbox with an error, 1 × gpu warmed",
        (
            "2 of 11 failed runs have not succeeded since.\n"
            '• Task "train" failed\n• Task "test" failed\n… and 10 more'
        ),
        "Group: Sales pipeline, train, Oldest: 2026-01-05 22:00:00 UTC, Newest: 2026-01-05 23:58:00 UTC",
    ),
    "backlog_folded": (
        "info",
        "12 notifications in one",
        (
            "10 × task_completed, 2 × task_started\nAbout data-analysis, nightly-report and 1 more.\n"
            "They waited while this destination was out of reach. Errors are sent one by one."
        ),
        "Oldest: 2026-01-05 22:00:00 UTC, Newest: 2026-01-05 23:58:00 UTC",
    ),
    "gpu_warmed": ("info", "Unknown event gpu_warmed", "", "Project: Sales pipeline"),
}


def context_of(event_type: str, **fields: object) -> EventContext:
    event = happening(event_type, **fields)
    return event, run_of(event), project_of(event)


def fields_text(context: EventContext) -> str:
    return ", ".join(f"{name}: {value}" for name, value in default_texts.fields(context))


def test_the_table_has_every_type() -> None:
    assert set(default_texts.DEFAULT_TEXTS) == set(EVENT_TYPES)
    assert set(READS) == {*EVENT_TYPES, "gpu_warmed"}


@pytest.mark.parametrize("event_type", READS)
def test_every_event_reads_well(event_type: str) -> None:
    context = context_of(event_type)
    severity = default_texts.severity(context[0])
    assert (severity, default_texts.title(context), default_texts.body(context), fields_text(context)) == READS[
        event_type
    ]


@pytest.mark.parametrize("event_type", READS)
def test_every_event_reads_well_without_a_run_and_with_as_little_as_there_can_be(event_type: str) -> None:
    event = happening(event_type)
    required = {field.name for field in structs.fields(type(event)) if field.required}
    bare = type(event)(**{name: getattr(event, name) for name in required} | {"type": event.type})
    context = (bare, None, None)
    title = default_texts.title(context)
    assert title
    assert "None" not in title + default_texts.body(context) + fields_text(context)


@pytest.mark.parametrize(
    ("fields", "severity", "body"),
    [
        ({"changed": 0, "tooOld": 0}, "info", "No run changed meanwhile."),
        ({"changed": 1, "tooOld": 0}, "info", "1 run changed meanwhile; missed events are reported now."),
        ({"changed": 0, "tooOld": 2}, "warning", "2 runs ended too long ago to be reported."),
        (
            {"changed": 0, "tooOld": 0, "gone": 2},
            "warning",
            "No longer known to the orchestrator, so their end is unknown: 2 runs.",
        ),
        (
            {"changed": 0, "tooOld": 0, "incomplete": True, "reason": "tasks: HTTP 500"},
            "warning",
            "Not everything could be looked up: tasks: HTTP 500",
        ),
    ],
)
def test_a_gap_matters_as_much_as_it_has_taken_away(fields: dict[str, object], severity: str, body: str) -> None:
    context = context_of("feed_gap", **fields)
    assert (default_texts.severity(context[0]), default_texts.body(context)) == (severity, body)


@pytest.mark.parametrize("event_type", READS)
def test_old_news_says_so(event_type: str) -> None:
    event, run, project = context_of(event_type, caughtUp=True)
    context = (event.model_copy(update={"caught_up": True}), run, project)
    assert default_texts.title(context).endswith(" (caught up)")
    if "Happened" in default_texts.default_text(event).facts:
        assert "Happened: 2026-11-23 03:12 UTC, seen after a gap" in fields_text(context)


def test_a_failure_without_an_error_shows_its_last_output() -> None:
    event = happening("task_failed", error=None)
    assert default_texts.body((event, run_of(event, output_tail=TAIL), SALES)) == "second to last line\nlast line"
    assert default_texts.body((event, run_of(event), SALES)) == ""
    event = happening("task_failed", error=None, output={"why": "disk full"})
    assert "disk full" in default_texts.body((event, run_of(event, output_tail=TAIL), SALES))


@pytest.mark.parametrize(
    ("step", "title"),
    [
        ({"step": "Load", "status": "completed"}, "Load completed"),
        ({"step": "Load", "status": "running"}, "Load is running"),
        ({"step": "Load", "status": "some_thing"}, "Load some thing"),
        ({"step": None, "stepId": "s-1", "status": "failed"}, "s-1 failed"),
        ({"step": None, "status": None}, "a step moved"),
    ],
)
def test_a_step_says_as_much_as_is_known(step: dict[str, str | None], title: str) -> None:
    assert default_texts.title(context_of("step_progress", **step)) == f'Task "data-analysis": {title}'


def test_a_step_without_a_message_shows_its_output() -> None:
    assert default_texts.body(context_of("step_progress", message=None, output="12 rows")) == "12 rows"


def test_a_first_attempt_is_not_counted_and_a_running_one_has_no_duration() -> None:
    event = happening("task_failed")
    assert (
        fields_text((event, run_of(event, attempt=1, ended_at=None), SALES))
        == "Project: Sales pipeline, Step: Load data"
    )


def test_a_workflow_that_has_a_name_shows_its_id_beside_it() -> None:
    event = happening("workflow_execution_failed")
    context = (event, run_of(event, name="Nightly report", attempt=1, step=None, ended_at=None), SALES)
    assert default_texts.title(context) == 'Workflow "Nightly report" failed'
    assert fields_text(context) == "Project: Sales pipeline, Workflow: nightly-report"


def test_a_task_that_is_called_by_its_whole_prompt_fits_a_title() -> None:
    event = happening("task_failed")
    title = default_texts.title((event, run_of(event, name="Please look at\nall the data " * 50), SALES))
    assert title.startswith('Task "Please look at all the data Please')
    assert len(title) < 120
    assert "\n" not in title


def test_a_long_error_keeps_its_end() -> None:
    context = context_of("task_failed", error="first\n" + "frame\n" * 5000 + "KeyError")
    body = default_texts.body(context)
    assert body.startswith("first\n")
    assert body.endswith("KeyError")
    assert len(body) < MAX_BODY_CHARACTERS + 10


def test_nothing_of_a_secret_or_a_terminal_gets_through() -> None:
    token = "xoxb-" + "1234567890-abcdefghijkl"
    event = happening("task_failed", error=f"\x1b[31mbad {token}\x1b[0m")
    context = (event, run_of(event, name=f"\x1b[1mjob\x07 {token}", step=token), SALES)
    everything = default_texts.title(context) + default_texts.body(context) + fields_text(context)
    assert "xoxb-1" not in everything
    assert "\x1b" not in everything
    assert default_texts.body(context).startswith("bad ")


def test_an_event_that_only_pretends_to_be_ours_is_unknown() -> None:
    wire = {"type": "agent_started", "projectId": "p1", "anything": 1}
    pretender = UnknownEvent.from_wire(wire, NOW)
    assert default_texts.title((pretender, None, SALES)) == "Unknown event agent_started"
    assert default_texts.body((pretender, None, SALES)) == '{\n  "anything": 1\n}'
    assert default_texts.title((AgentStartedEvent(timestamp=NOW), None, None)) == "AInTandem Notify is running"


def test_a_group_by_project_does_not_repeat_its_name() -> None:
    event = happening("digest", label="Sales pipeline")
    assert "Group" not in fields_text((event, None, SALES))
    assert "Group: Sales pipeline" in fields_text((event, None, None))


@pytest.mark.parametrize(
    ("projects", "plugins", "body"),
    [(1, 0, "1 project to watch, 0 plugins."), (0, 3, "0 projects to watch, 3 plugins.")],
)
def test_counts_agree_with_their_nouns(projects: int, plugins: int, body: str) -> None:
    assert default_texts.body(context_of("agent_started", projects=projects, plugins=plugins)) == body
