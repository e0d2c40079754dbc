"""Any callable can be a callback, and an exception in one does not affect the others."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from aintandem_notify.client.channels.callbacks import CallbackRunner, run_callbacks
from aintandem_notify.client.channels.event_filter import SubscriptionFilter
from aintandem_notify.client.channels.subscriber_queue import SubscriberQueue
from aintandem_notify.domain.events import Event
from aintandem_notify.domain.samples import sample_event

Note = Callable[[Event], None]


class Meta(type):
    """Its classes note an event instead of making an instance."""

    note: Note

    def __call__(cls, event: Event) -> None:
        cls.note(event)


def plain_object(note: Note) -> Any:
    class Plain:
        def __call__(self, event: Event) -> None:
            assert isinstance(self, Plain)
            note(event)

    return Plain()


def derived_object(note: Note) -> Any:
    return type("Derived", (type(plain_object(note)),), {})()


def asynchronous_object(note: Note) -> Any:
    class Asynchronous:
        async def __call__(self, event: Event) -> None:
            note(event)

    return Asynchronous()


def object_with_static_call(note: Note) -> Any:
    class Static:
        @staticmethod
        def __call__(event: Event) -> None:
            note(event)

    return Static()


def object_with_call_of_its_own(note: Note) -> Any:
    owner = plain_object(note)
    owner.__call__ = pytest.fail
    return owner


def whole_class(note: Note) -> Any:
    return Meta("Noting", (), {"note": staticmethod(note)})


def function(note: Note) -> Any:
    return lambda event: note(event)


FORMS: list[Callable[[Note], Any]] = [
    *(plain_object, derived_object, asynchronous_object, object_with_static_call, object_with_call_of_its_own),
    *(whole_class, function, partial),
]


async def run(callback: Any, events: list[Event], runner: CallbackRunner) -> None:
    queue = SubscriberQueue(SubscriptionFilter())
    queue.put(events)
    queue.close()
    await run_callbacks(queue, callback, {}, runner)


@pytest.mark.parametrize("form", FORMS)
async def test_any_callable_gets_the_events(form: Callable[[Note], Any]) -> None:
    noted: list[Event] = []
    events = [sample_event("output"), sample_event("task_started")]

    await run(form(noted.append), events, CallbackRunner(lambda error, _event: pytest.fail(str(error))))

    assert noted == events


@pytest.mark.parametrize("form", FORMS)
async def test_an_exception_is_reported_with_its_event_and_the_next_events_come(
    form: Callable[[Note], Any],
) -> None:
    noted: list[Event] = []
    reported: list[tuple[str, Any]] = []
    good, bad = sample_event("output"), sample_event("task_started")

    def note(event: Event) -> None:
        if event is bad:
            raise ValueError("bad")
        noted.append(event)

    with capture_logs():
        await run(
            form(note),
            [bad, good, bad, good],
            CallbackRunner(lambda error, event: reported.append((str(error), event))),
        )

    assert noted == [good, good]
    assert reported == [("bad", bad)] * 2
