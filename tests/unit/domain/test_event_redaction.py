"""An event is redacted with its run as if each of its texts were, though most texts are searched only once."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.event_redaction import (
    EventContext,
    redact_event,
    redact_event_context,
    redact_project,
    redact_run,
)
from aintandem_notify.domain.events import TaskCompletedEvent, TaskOutputEvent
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.runs import Run, advance
from aintandem_notify.log import register_secret

SECRET = "Xq7vLm2Rt9Kp4Zs8"
NOW = datetime(2026, 5, 4, tzinfo=UTC)
PROJECT = Project(id="p", name="Sales")


def one_by_one(event: TaskOutputEvent, before: str, run: Run) -> EventContext:
    """The context with each part redacted by itself."""
    return redact_event(event, before), redact_run(run), redact_project(PROJECT)


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["row 17 of 1000000 done\n", "\n", "done", SECRET, f"a {SECRET}\n", "Bearer ", "abcdef0123"]
            ),
            st.sampled_from(
                [SECRET[:9], SECRET[9:], SECRET[:4], SECRET[4:], SECRET[:2], SECRET[2:], "\x1b[3", "1m"]
            ),
            st.text("Xq7vLm2Rt9Kp4Zs8\n", max_size=6),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
            st.text("row done\n", min_size=4000, max_size=4100),
        ),
        max_size=12,
    )
)
def test_output_is_redacted_with_its_run_as_by_itself(pieces: list[str]) -> None:
    register_secret(SECRET)
    run = None
    for piece in pieces:
        event = TaskOutputEvent(timestamp=NOW, project_id="p", task_id="t", output=piece)
        run = advance(run, event)
        before = run.output_tail.removesuffix(piece) if run.output_tail.endswith(piece) else ""
        assert redact_event_context((event, run, PROJECT)) == one_by_one(event, before, run)


def test_a_context_without_secrets_stays_the_same_object() -> None:
    register_secret(SECRET)
    event = TaskCompletedEvent(timestamp=NOW, project_id="p", task_id="t")
    context = event, advance(None, event), PROJECT
    assert redact_event_context(context) is context


def test_a_secret_in_any_part_of_a_context_is_removed() -> None:
    register_secret(SECRET)
    event = TaskCompletedEvent(timestamp=NOW, project_id="p", task_id="t")
    run = advance(None, event)
    for run_texts, name in (
        ({"name": SECRET}, "p"),
        ({"step": SECRET}, "p"),
        ({"workflow_id": SECRET}, "p"),
        ({}, SECRET),
    ):
        run_with = Run(**{**{field: getattr(run, field) for field in run.__slots__}, **run_texts})
        assert SECRET not in repr(redact_event_context((event, run_with, Project(id="p", name=name))))
