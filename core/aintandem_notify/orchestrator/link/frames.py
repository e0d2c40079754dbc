"""Turns the frames of one project into events, and counts frames that are no event."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from structlog.typing import FilteringBoundLogger

from aintandem_notify.domain.events import Event, InvalidFrame, UnknownEvent, parse_frame, read_frames
from aintandem_notify.domain.events.quick_parsing import MAX_QUICK_BYTES, Frame
from aintandem_notify.domain.truncation import fit_event
from aintandem_notify.foundation.clock import Clock
from aintandem_notify.foundation.untrusted_json import is_out_of_memory

UNKNOWN_TYPE: Final = "unknown type"
"""The name under which events of unknown type are counted; they are handed on as events."""
TRUNCATED: Final = "cut"
"""The name under which truncated events are counted; their beginning and end are kept."""
MAX_UNKNOWN_NAMES: Final = 20
"""Different unknown types that are logged by name; more than that are garbage."""
MAX_NAME_CHARACTERS: Final = 80


class FrameReader:
    """Reads a project's frames. ``frames``, ``size`` (characters), ``events`` and ``flaws`` count since the start.

    Events of frames with more than ``max_length`` characters are truncated to that; None truncates none.
    """

    def __init__(
        self, project_id: str, clock: Clock, log: FilteringBoundLogger, *, max_length: int | None = None
    ) -> None:
        self._max_length = max_length
        self._max_quick = MAX_QUICK_BYTES if max_length is None else min(MAX_QUICK_BYTES, max_length)
        self.frames: int = 0
        self.size: int = 0
        self.events: int = 0
        self.flaws: Counter[str] = Counter()
        self._project_id = project_id
        self._clock = clock
        self._log = log
        self._unknown: frozenset[str] = frozenset()  # nearly always empty, and a set takes 216 bytes

    def has_long_frame(self, batch: Sequence[Frame]) -> bool:
        """True if one of the frames will be truncated. That takes time: it may hold thousands of secrets."""
        return self._max_length is not None and max(map(len, batch), default=0) > self._max_length

    def read(self, batch: Sequence[Frame], received_at: datetime | None = None) -> list[Event]:
        """The events in a batch of frames, in order. ``received_at`` is aware UTC; None means now.

        Each kind of flaw is logged once.
        """
        read_otherwise = partial(self._read_otherwise, received_at=received_at or self._clock.now())
        events = read_frames(batch, self._project_id, read_otherwise, max_bytes=self._max_quick)
        self.frames += len(batch)
        self.size += sum(map(len, batch))
        self.events += len(events)
        return events

    def _read_otherwise(self, frame: Frame, received_at: datetime) -> Event | None:
        content = parse_frame(frame, self._project_id, received_at)
        if isinstance(content, InvalidFrame):
            self._note_flaw(content)
        if not isinstance(content, Event):
            return None
        if isinstance(content, UnknownEvent):
            self._note_unknown(content.type)
        is_long = self._max_length is not None and len(frame) > self._max_length
        return self._truncate(content) if is_long else content

    def _truncate(self, event: Event) -> Event:
        try:
            shorter = event if self._max_length is None else fit_event(event, self._max_length)
        except BaseException as error:
            if not is_out_of_memory(error):
                raise
            shorter = event.without_texts()
        if shorter is not event:
            self.flaws[TRUNCATED] += 1
            if self.flaws[TRUNCATED] == 1:
                self._log.info("a long event is truncated; more of this kind are only counted", type=event.type)
        return shorter

    def count_flaw(self, flaw: str, detail: str = "") -> None:
        """Count a flaw, and log it if it is the first of its kind."""
        self.flaws[flaw] += 1
        if self.flaws[flaw] == 1:
            self._log.warning("a frame was no event; more of this kind are only counted", flaw=flaw, detail=detail)

    def _note_flaw(self, content: InvalidFrame) -> None:
        self.count_flaw(content.flaw.value, content.detail)

    def _note_unknown(self, event_type: str) -> None:
        self.flaws[UNKNOWN_TYPE] += 1
        if event_type not in self._unknown and len(self._unknown) < MAX_UNKNOWN_NAMES:
            self._unknown |= {event_type}
            self._log.info(
                "unknown type of event; more of it are only counted", type=event_type[:MAX_NAME_CHARACTERS]
            )
