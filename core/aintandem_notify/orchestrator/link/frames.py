"""Turns the frames of one project into events, and counts what is none."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from aintandem_notify.domain.events import Event, InvalidFrame, UnknownEvent, parse_frame
from aintandem_notify.domain.truncation import fit_event
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.untrusted_json import is_out_of_memory

UNKNOWN_TYPE: Final = "unknown type"
"""The kind under which events of unknown type are counted; they are events all the same."""
TRUNCATED: Final = "cut"
"""The kind under which long events are counted of which the beginning and the end are kept."""
MAX_UNKNOWN_NAMES: Final = 20
"""Different unknown types that are logged by name; whoever sends more sends garbage."""
MAX_NAME_LENGTH: Final = 80


class FrameReader:
    """Reads a project's frames. ``frames``, ``size``, ``events`` and ``flaws`` count since the start.

    Events of frames with more than ``max_length`` characters are cut to that; None leaves all as they are.
    """

    def __init__(
        self, project_id: str, clock: Clock, log: FilteringBoundLogger, *, max_length: int | None = None
    ) -> None:
        self._max_length = max_length
        self.frames = 0
        self.size = 0
        self.events = 0
        self.flaws: Counter[str] = Counter()
        self._project_id = project_id
        self._clock = clock
        self._log = log
        self._unknown: set[str] = set()

    def has_long_frame(self, batch: Sequence[str | bytes]) -> bool:
        """Whether one of the frames is to be cut, which takes time: it may hold thousands of secrets."""
        return self._max_length is not None and any(len(frame) > self._max_length for frame in batch)

    def read(self, batch: Sequence[str | bytes], received_at: datetime | None = None) -> list[Event]:
        """The events in a batch of frames, in order; received now, unless it is said when.

        Each kind of flaw is logged once.
        """
        project_id, received_at = self._project_id, received_at or self._clock.now()
        events: list[Event] = []
        for frame in batch:
            content = parse_frame(frame, project_id, received_at)
            if isinstance(content, Event):
                too_long = self._max_length is not None and len(frame) > self._max_length
                events.append(self._cut(content) if too_long else content)
                if isinstance(content, UnknownEvent):
                    self._note_unknown(content.type)
            elif isinstance(content, InvalidFrame):
                self._note_flaw(content)
        self.frames += len(batch)
        self.size += sum(map(len, batch))
        self.events += len(events)
        return events

    def _cut(self, event: Event) -> Event:
        try:
            shorter = event if self._max_length is None else fit_event(event, self._max_length)
        except BaseException as error:
            if not is_out_of_memory(error):
                raise
            shorter = event.without_texts()
        if shorter is not event:
            self.flaws[TRUNCATED] += 1
            if self.flaws[TRUNCATED] == 1:
                self._log.info("a long event is cut; more of this kind are only counted", type=event.type)
        return shorter

    def note(self, flaw: str, detail: str = "") -> None:
        """Count a flaw, and log the first of its kind."""
        self.flaws[flaw] += 1
        if self.flaws[flaw] == 1:
            self._log.warning("a frame was no event; more of this kind are only counted", flaw=flaw, detail=detail)

    def _note_flaw(self, content: InvalidFrame) -> None:
        self.note(content.flaw.value, content.detail)

    def _note_unknown(self, event_type: str) -> None:
        self.flaws[UNKNOWN_TYPE] += 1
        if event_type not in self._unknown and len(self._unknown) < MAX_UNKNOWN_NAMES:
            self._unknown.add(event_type)
            self._log.info("unknown type of event; more of it are only counted", type=event_type[:MAX_NAME_LENGTH])
