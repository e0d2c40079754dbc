"""Timestamps as orchestrators send them, and the zones and clocks in which they are read."""

from collections.abc import Mapping
from typing import Any, Final

TIMES: Final[Mapping[str, Any]] = {
    "Go's zero": "0001-01-01T00:00:00Z",
    "Go's zero, with a fraction": "0001-01-01T00:00:00.000Z",
    "Go's zero, east": "0001-01-01T00:00:00+14:00",
    "the first second, west": "0001-01-01T00:00:01-12:00",
    "the last second": "9999-12-31T23:59:59Z",
    "the last moment": "9999-12-31T23:59:59.999999Z",
    "the last second, west": "9999-12-31T23:59:59-12:00",
    "the last second, east": "9999-12-31T23:59:59+14:00",
    "the epoch": "1970-01-01T00:00:00Z",
    "a second before the epoch": "1969-12-31T23:59:59Z",
    "behind 2038": "2038-01-19T03:14:08Z",
    "the future": "2126-06-01T00:00:00Z",
    "no zone": "2026-03-01T12:00:00",
    "no zone, a space": "2026-03-01 12:00:00",
    "a date only": "2026-03-01",
    "no seconds": "2026-03-01T12:00Z",
    "basic format": "20260301T120000Z",
    "nine digits of a fraction": "2026-03-01T12:00:00.123456789Z",
    "a comma": "2026-03-01T12:00:00,5Z",
    "small letters": "2026-03-01t12:00:00z",
    "a zone of odd minutes": "2026-03-01T12:00:00+05:45",
    "a zone of seconds": "1890-03-01T12:00:00+00:53:28",
    "an hour that does not exist": "2026-03-29T02:30:00",
    "an hour that is there twice": "2026-10-25T02:30:00",
    "a leap second": "2016-12-31T23:59:60Z",
    "24 o'clock": "2026-03-01T24:00:00Z",
    "29 February of no leap year": "2026-02-29T00:00:00Z",
    "a week": "2026-W10-1T00:00:00Z",
    "milliseconds": 1_772_366_400_000,
    "seconds": 1_772_366_400,
    "seconds with a fraction": 1_772_366_400.25,
    "milliseconds as a text": "1772366400000",
    "microseconds": 1_772_366_400_000_000,
    "nanoseconds": 1_772_366_400_000_000_000,
    "zero": 0,
    "minus one": -1,
    "the largest of 64 bits": 2**63 - 1,
    "a number without end": 1e308,
    "a http date": "Sun, 01 Mar 2026 12:00:00 GMT",
    "javascript's text": "Sun Mar 01 2026 12:00:00 GMT+0000 (Coordinated Universal Time)",
    "a year of five digits": "10000-01-01T00:00:00Z",
    "a year before Christ": "-0001-01-01T00:00:00Z",
    "the year zero": "0000-01-01T00:00:00Z",
    "empty": "",
    "no time": "yesterday",
    "null": None,
    "true": True,
    "a list": [2026, 3, 1],
    "an object": {"$date": "2026-03-01T12:00:00Z"},
    "digits that are no ASCII": "\u0662\u0660\u0662\u0666-03-01T12:00:00Z",
    "a lone surrogate": "2026-03-01T12:00:00\ud83d",
    "10,000 digits": "2026-03-01T12:00:00." + "1" * 10_000 + "Z",
}
"""Values of ``timestamp`` and of REST's times."""

ZONES: Final[Mapping[str, str]] = {
    "UTC": "UTC",
    "far west": "Etc/GMT+12",
    "far east": "Pacific/Kiritimati",
    "half past": "America/St_Johns",
    "with summer time": "Europe/Berlin",
}
"""Values of TZ under which a time may lie outside of the calendar."""

ODD_ZONES: Final[Mapping[str, str]] = {
    "empty": "",
    "nowhere": "Middle/Earth",
    "of POSIX": "CET-1CEST,M3.5.0,M10.5.0/3",
    "of POSIX, a day off": "XXX+24:59:59",
    "a file that is none": ":/etc/hostname",
    "a path outside": "../../../etc/passwd",
    "no text": "\udcff\udcfe",
    "long": "A" * 5_000,
}
"""Values of TZ that are odd; times may be shown as in UTC then, and nothing ends."""

CLOCKS_S: Final[Mapping[str, float]] = {
    "right": 0.0,
    "20 hours behind": -20 * 3600.0,
    "20 hours ahead": 20 * 3600.0,
    "at the epoch": -1_790_000_000.0,
}
"""By how many seconds the agent's clock is off from the orchestrator's."""
