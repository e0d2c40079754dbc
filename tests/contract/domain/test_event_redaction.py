"""Secrets in events, on a real store: no form of one is sent; the notification is, under its own identity."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from aintandem_notify.control.deliveries import PageSearch, search_on, show
from aintandem_notify.domain.event_redaction import EventContext
from aintandem_notify.domain.events import Event, Family
from aintandem_notify.domain.notification import Notification, Project
from aintandem_notify.domain.observation import Gap, Observation, ObservationBatch
from aintandem_notify.domain.runs import RunRef, RunState
from aintandem_notify.log import REDACTED, may_hold_secret, register_secret
from aintandem_notify.rules import Router, default_texts, formats
from aintandem_notify.store import DeliveryFilter, Storage
from aintandem_notify.store.tables import outbox
from support.ingesting import open_bench
from support.nasty import texts as texts_of
from support.outbox import NOW, PROJECT, claim_all, event, memory
from support.routing import config, destination, rule
from support.shown_everywhere import as_sent

pytestmark = pytest.mark.usefixtures("any_store")

DESTINATIONS = ("file_log.audit", "webhook.ops")


def router(**more: Any) -> Router:
    """Sends everything to one destination, with templates of its own, and task events to another."""
    own = {"title": "{{ run.name }}: {{ event.error }}", "body": "{{ event.error }} {{ event }}"} | more
    return Router(
        config(
            *map(destination, DESTINATIONS),
            rule("own", "* unknown/*", DESTINATIONS[0], **own),
            rule("default", "task/*", DESTINATIONS[1]),
        )
    )


async def due_notifications(storage: Storage, name: str = DESTINATIONS[0]) -> list[Notification]:
    """The notifications due at a destination, in order."""
    return [claim.notification for claim in await storage.run(claim_all(name))]


SOURCES = ("the cache", "the store", "the store after a restart")


async def prepare(storage: Storage, source: str) -> None:
    """Due notifications come from this one of ``SOURCES``."""
    if source == "the store after a restart":
        register_secret(f"a secret of run {uuid4()}")
    if source != "the cache":
        await storage.run(lambda store: store._notification_cache.clear())


def failed_while_offline(run: str = "t1", **facts: Any) -> ObservationBatch:
    """REST shows that a task failed a minute ago, while the agent was offline."""
    moment = NOW - timedelta(minutes=1)
    gap = Gap(NOW - timedelta(hours=1), NOW, NOW - timedelta(days=1), 86400)
    ref = RunRef("p", Family.TASK, run)
    observation = Observation(ref, RunState.FAILED, "t", created_at=moment, started_at=moment, ended_at=moment)
    return ObservationBatch(
        (type(observation)(**{name: getattr(observation, name) for name in observation.__slots__} | facts),),
        gap,
        0,
    )


TOKENS = {
    "a URL with a token": "url was /cb?token=abc123",
    "a login in a URL": "http://me:abc123@host/",
    "a header": "Authorization: Bearer abc123abc123",
    "the config's own": "sesame-4711 was refused",
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("error", TOKENS.values(), ids=TOKENS)
async def test_a_failure_whose_error_holds_a_secret_is_sent_live(error: str, source: str) -> None:
    register_secret("sesame-4711")
    failed = event("task_failed", error=error)
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, router()) as bench:
            for _ in range(2):
                await bench.ingest.commit(PROJECT, [event("task_started", at=-5), failed])
            await prepare(storage, source)
            for name in DESTINATIONS:
                *_, notification = await due_notifications(storage, name)
                assert_shows_event(notification, failed)
    assert logs == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("error", TOKENS.values(), ids=TOKENS)
async def test_a_failure_whose_error_holds_a_secret_is_sent_after_a_gap(error: str, source: str) -> None:
    register_secret("sesame-4711")
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, router()) as bench:
            for _ in range(2):
                outcome = await bench.ingest.reconcile(PROJECT, failed_while_offline(error=error, name=error))
            await prepare(storage, source)
            for name in DESTINATIONS:
                started, failed = await due_notifications(storage, name)
                assert (started.event.type, failed.event.type) == ("task_started", "task_failed")
                assert failed.event.caught_up
                assert_shows_event(failed, failed.event)
    assert outcome.changed == 0
    assert logs == []


def assert_shows_event(notification: Notification, raw: Event) -> None:
    """The notification shows the event without its secret, and has the event's identity."""
    text = notification.model_dump_json()
    assert "abc123" not in text
    assert "4711" not in text
    assert REDACTED in notification.body
    assert type(notification.event) is type(raw)
    for name in ("key", "type", "timestamp", "run_id", "project_id", "caught_up"):
        assert getattr(notification.event, name) == getattr(raw, name)
    assert (notification.thread, notification.event.wire()["taskId"]) == ("p/task/t1/1", "t1")


HIDDEN_WORDS = ["task", "fail", "2026", "00:00", "run-", "proj", "type", "error", "sandbox", "phase-1", "wf-4711"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("secret", HIDDEN_WORDS)
async def test_no_secret_changes_the_identity_of_an_event(secret: str, source: str) -> None:
    about = {"taskId": "run-token=abc", "executionId": "run-token=abc", "sandboxId": "run-token=abc"}
    named = {"workflowId": "wf-4711" * 73, "phaseId": "phase-1", "error": "wf-4711 token=abc"}
    project = Project(id="proj-2026", name="proj-2026")
    kinds = ("task_failed", "workflow_phase_started", "workflow_execution_failed", "sandbox_error", "artifact")
    raw = [
        event(kind, at=at, project=project.id, artifact={"path": "type"}, **about, **named)
        for at, kind in enumerate((*kinds, "task_of_another_release"))
    ]
    register_secret(secret)
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(project, raw)
        await prepare(storage, source)
        notifications = await due_notifications(storage)
    assert [type(notification.event) for notification in notifications] == [type(raw_event) for raw_event in raw]
    for notification, raw_event in zip(notifications, raw, strict=True):
        for name in ("key", "type", "timestamp", "run_id", "project_id", "caught_up"):
            assert getattr(notification.event, name) == getattr(raw_event, name)
        assert notification.event.wire()["timestamp"] == raw_event.wire()["timestamp"]
        assert notification.run is None or notification.run.ref == (project.id, raw_event.family, raw_event.run_id)
    assert len({notification.id for notification in notifications}) == len(notifications)


async def test_a_secret_registered_later_is_removed_all_the_same() -> None:
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(
            PROJECT, [event("task_failed", error="sesame-4711 was refused", task="sesame-4711")]
        )
        register_secret("sesame-4711")
        for source in SOURCES:
            await prepare(storage, source)
            for name in DESTINATIONS:
                (notification,) = await due_notifications(storage, name)
                assert "sesame" not in notification.model_dump_json()


async def test_a_secret_registered_while_notifications_are_rendered_is_removed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    title = default_texts.title

    def title_before(context: EventContext) -> str:
        text = title(context)
        register_secret("sesame-4711")
        return text

    monkeypatch.setattr(default_texts, "title", title_before)
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(PROJECT, [event("task_failed", error="no", task="sesame-4711")])
        for source in SOURCES:
            await prepare(storage, source)
            (notification,) = await due_notifications(storage, DESTINATIONS[1])
            assert "sesame" not in notification.model_dump_json()


@pytest.mark.parametrize("source", SOURCES[1:])
async def test_only_what_another_process_rendered_is_searched_for_secrets(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []

    def search(text: str) -> bool:
        searched.append(text)
        return may_hold_secret(text)

    monkeypatch.setattr(outbox, "may_hold_secret", search)
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(PROJECT, [event("task_failed", error="no")])
        await prepare(storage, source)
        assert len(await due_notifications(storage)) == 1
    assert len(searched) == (1 if source == "the store after a restart" else 0)


def raises(*_args: Any, **_more: Any) -> Any:
    raise AssertionError("sesame-4711 is in the way")


@pytest.mark.parametrize("place", ["title", "body", "fields", "all"])
async def test_the_end_is_sent_despite_any_error_in_its_text(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register_secret("sesame-4711")
    if place != "all":
        monkeypatch.setattr(default_texts, place, raises)
    else:
        monkeypatch.setattr(formats, "one_line", raises)
    batch = [event("task_failed", run=f"t{number}", error="a\x00b" * 9) for number in range(3)]
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, router(title=None, body=None)) as bench:
            await bench.ingest.commit(PROJECT, batch)
            await bench.ingest.reconcile(PROJECT, failed_while_offline("t9", error="sesame-4711"))
            await prepare(storage, "the store after a restart")
            for name in DESTINATIONS:
                notifications = await due_notifications(storage, name)
                assert [notification.event.run_id for notification in notifications] == [
                    "t0",
                    "t1",
                    "t2",
                    "t9",
                    "t9",
                ]
                assert {notification.title for notification in notifications} == {"Task failed", "Task started"}
    if place != "all":  # without a reason for the log, the writer logs the exception itself
        assert "sesame" not in str(logs)


async def test_a_notification_that_cannot_be_shown_when_it_is_read_back_goes_out_without_its_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = event("task_failed", error="token=abc")
    with capture_logs() as logs:
        async with memory() as storage, open_bench(storage, router()) as bench:
            await bench.ingest.commit(PROJECT, [failed])
            await prepare(storage, "the store after a restart")
            monkeypatch.setattr(outbox, "redact_notification", raises)
            (notification,) = await due_notifications(storage)
    assert (notification.title, notification.event.key, notification.thread) == (
        "Task failed",
        failed.key,
        "p/task/t1/1",
    )
    assert "abc" not in notification.model_dump_json()
    assert [line["id"] for line in logs] == [notification.id]


PASSWORD = "Xq7vLm2R+Kp4Zs8/w"
FORMS: dict[str, texts_of.SecretText] = {**texts_of.SECRETS, **texts_of.password_texts(PASSWORD)}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("caught_up", [False, True])
async def test_no_form_of_a_secret_gets_to_a_destination_of_any_kind(caught_up: bool, source: str) -> None:
    register_secret(PASSWORD)
    numbers = {f"t{number}": form for number, form in enumerate(FORMS.values())}
    async with memory() as storage, open_bench(storage, router(title=None, body=None)) as bench:
        for run, form in numbers.items():
            odd = {form.text: [form.text], "deep": {"a": {form.text: form.text}}}
            if caught_up:
                await bench.ingest.reconcile(
                    PROJECT, failed_while_offline(run, error=form.text, name=form.text, output=odd)
                )
                continue
            artifact = {"path": form.text, "type": form.text, "kept": odd}
            await bench.ingest.commit(
                Project(id="p", name=form.text),
                [
                    event("task_started", run, task=form.text, input=odd),
                    event("output", run, 1, output=form.text + "\n"),
                    event("step_progress", run, 2, step=form.text, message=form.text),
                    event("artifact", run, 3, artifact=artifact),
                    event("task_failed", run, 4, error=form.text, output=odd, extra=odd),
                    event("something_new", run, 5, text=form.text, more=odd),
                ],
            )
        await prepare(storage, source)
        sent = [*await due_notifications(storage), *await due_notifications(storage, DESTINATIONS[1])]
    assert {notification.event.run_id for notification in sent} - {None} == set(numbers)
    assert [notification for notification in sent if notification.event.type == "task_failed"]
    for notification in sent:
        for kind, text in as_sent(notification).items():
            for name, form in FORMS.items():
                assert form.secret not in text, f"{kind}: {name}"


PIECES = [f"log in with {PASSWORD[:7]}", PASSWORD[7:12], f"{PASSWORD[12:]} now\n", "and token=abc", "def123 too\n"]


def parts(text: str) -> list[str]:
    """The parts of the secrets that ``text`` shows."""
    secret_parts = [PASSWORD[at : at + 4] for at in range(len(PASSWORD) - 3)]
    return [part for part in (*secret_parts, "abc", "def123") if part in text]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("together", [False, True])
async def test_a_secret_that_a_task_writes_in_pieces_goes_out_in_none(together: bool, source: str) -> None:
    register_secret(PASSWORD)
    outputs = [event("output", at=at, output=piece) for at, piece in enumerate(PIECES)]
    failed = event("task_failed", at=9)
    async with memory() as storage, open_bench(storage, router(title=None, body=None)) as bench:
        for batch in [[*outputs, failed]] if together else [[single] for single in (*outputs, failed)]:
            await bench.ingest.commit(PROJECT, batch)
        await prepare(storage, source)
        sent = await due_notifications(storage)
        output = "".join(notification.event.wire()["output"] for notification in sent[:-1])
        assert output.startswith("log in with ")
        assert " now\nand token=" in output
        for notification in sent:
            for kind, text in as_sent(notification).items():
                assert not parts(text), kind
        # Live hooks get the same.
        assert [published.key for published in bench.published] == [raw.key for raw in (*outputs, failed)]
        assert not parts(str([published.wire() for published in bench.published]))
        assert not parts(str(bench.published))


async def test_live_hooks_get_no_secret_that_lies_over_pieces_which_no_rule_wants() -> None:
    register_secret(PASSWORD)
    async with memory() as storage, open_bench(storage, Router(config(destination("file_log.a")))) as bench:
        for at, piece in enumerate(PIECES):
            await bench.ingest.commit(PROJECT, [event("output", at=at, output=piece)])
        await bench.ingest.commit(
            PROJECT, [event("output", at=9 + at, output=piece) for at, piece in enumerate(PIECES)]
        )
        assert len(bench.published) == 2 * len(PIECES)
        assert not parts(str(bench.published))


@pytest.mark.parametrize("line", ["", "x" * 3985 + " "])
@pytest.mark.parametrize("source", SOURCES)
async def test_the_end_of_an_output_does_not_begin_in_a_secret(line: str, source: str) -> None:
    register_secret(PASSWORD)
    async with memory() as storage, open_bench(storage, router(title=None, body=None)) as bench:
        for number in range(len(PASSWORD) + 2):
            run = f"t{number}"
            # The last 4,000 characters begin inside the secret, or the last piece does.
            padding = "z" * (4000 - number)
            await bench.ingest.commit(PROJECT, [event("output", run, output=f"{line}{PASSWORD}{padding[:10]}")])
            await bench.ingest.commit(
                PROJECT, [event("output", run, 1, output=padding[10:]), event("task_failed", run, 2)]
            )
        await prepare(storage, source)
        for notification in [
            *await due_notifications(storage),
            *await due_notifications(storage, DESTINATIONS[1]),
        ]:
            for kind, text in as_sent(notification).items():
                assert not parts(text), kind


async def test_keys_that_become_equal_both_go_out() -> None:
    register_secret(PASSWORD)
    failed = event("task_failed", output={PASSWORD: 1, "/cb?token=abc": 2, f"{PASSWORD}\x00": 3})
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(PROJECT, [failed])
        (notification,) = await due_notifications(storage)
    assert notification.event.wire()["output"] == {REDACTED: 1, f"/cb?token={REDACTED}": 2, f"{REDACTED}\x00": 3}


async def test_deliveries_shown_to_people_hold_no_secret_registered_since() -> None:
    async with memory() as storage, open_bench(storage, router()) as bench:
        await bench.ingest.commit(PROJECT, [event("task_failed", error=f"{PASSWORD} failed", task=PASSWORD)])
        register_secret(PASSWORD)
        register_secret("project")
        register_secret("error")
        detail = await storage.run(lambda store: show(store, "1", NOW))
        search = PageSearch(DeliveryFilter(), 9, None)
        listed = (await storage.run(lambda store: search_on(store, search, ()))).response()
    assert detail.title is not None
    assert REDACTED in detail.title
    assert detail.severity == "error"
    assert not parts(detail.model_dump_json() + listed.model_dump_json())
