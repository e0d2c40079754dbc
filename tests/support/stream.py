"""The recorded stream of frames that both libraries get: ``tests/conformance/stream.jsonl``, one frame a line.

``text`` or ``binary`` is the content of the frame. ``times`` sends it so many times, with ``#n#`` counted up.
``fill`` puts so many characters in place of ``#fill#``. ``fragments`` sends it in so many pieces. By default
both libraries report the same event. ``only`` names the one that reports it (``sdk``, ``ours``, ``none``).
``differs`` names the fields that they report differently. ``why`` names the difference in ``differences.toml``.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from support.raw_orchestrator import frame

STREAM: Final = Path(__file__).parents[1] / "conformance" / "stream.jsonl"
PROJECT: Final = "project-123"
"""The project of the stream's socket."""


@dataclass(frozen=True, slots=True)
class Line:
    """One frame and its expected result."""

    content: str
    wire: bytes
    only: Literal["sdk", "ours", "none"] | None
    differs: frozenset[str]
    why: str | None

    @property
    def event(self) -> dict[str, Any]:
        """The event in the frame, as JSON; raises ValueError if it is none."""
        event: dict[str, Any] = json.loads(self.content)
        return event


def read_stream() -> list[Line]:
    """All lines; a repeated one as often as it is sent."""
    rows = STREAM.read_text(encoding="utf-8").splitlines()
    return [line for row in rows for line in _lines(json.loads(row))]


def _lines(row: dict[str, Any]) -> Iterator[Line]:
    for number in range(row.get("times", 1)):
        content = row.get("text", row.get("binary", ""))
        content = content.replace("#n#", str(number)).replace("#fill#", "x" * row.get("fill", 0))
        wire = frame(content, opcode=0x2) if "binary" in row else _pieces(content, row.get("fragments", 1))
        yield Line(content, wire, row.get("only"), frozenset(row.get("differs", ())), row.get("why"))


def _pieces(content: str, count: int) -> bytes:
    size = len(content) // count + 1
    pieces = [content[start : start + size] for start in range(0, max(len(content), 1), size)]
    last = len(pieces) - 1
    return b"".join(
        frame(piece, opcode=0x0 if index else 0x1, final=index == last) for index, piece in enumerate(pieces)
    )
