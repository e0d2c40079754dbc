"""Lays a notification out as a Slack message.

From top to bottom: a header with the title; one line with severity, project and duration; the mentions; the body;
the last lines of output after an error; the fields; a link; and small print. Every message is within all of
Slack's limits. Texts of tasks appear only in ``plain_text`` objects and code blocks, where Slack reads no markup.

The link is no button: Slack shows a warning next to a button whose app does not answer clicks.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from aintandem_notify.api import Notification, Severity, describe_duration
from aintandem_notify_slack.text import clean, code, escape, escaped, length, one_line, plain

Message = dict[str, Any]
Block = dict[str, Any]

MAX_BLOCKS_TOTAL: Final = 7500
"""Characters in all blocks together: Slack refuses 8,000, and may count differently."""
MAX_TEXT: Final = 4000
"""Characters of a top-level text that Slack shows without unfolding."""
MAX_HEADER: Final = 150
MAX_BODY: Final = 2900
"""A section takes 3,000."""
MAX_TAIL: Final = 1800
MAX_NAME: Final = 100
MAX_FIELDS: Final = 10
MAX_FIELD_NAME: Final = 60
MAX_FIELD_VALUE: Final = 150
MAX_URL: Final = 2000
MAX_MENTIONS: Final = 20
MAX_ID: Final = 255

SEVERITIES: Final[Mapping[Severity, tuple[str, str]]] = {
    Severity.INFO: ("ℹ️", "Info"),
    Severity.SUCCESS: ("✅", "Success"),
    Severity.WARNING: ("⚠️", "Warning"),
    Severity.ERROR: ("❌", "Error"),
    Severity.CRITICAL: ("🚨", "Critical"),
}
"""For each severity, the emoji before the title and the word in the summary."""

# The bodies of these families are our own prose; output of tasks keeps its columns in a code block.
_FAMILIES_WITH_OWN_TEXT: Final = frozenset({"connection", "agent", "watch"})
_EVERYBODY: Final = frozenset({"here", "channel", "everyone"})
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,30}")
_GROUP: Final = re.compile(r"S[A-Z0-9]{2,30}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", re.ASCII)
_NOT_IN_LINKS: Final[Mapping[int, str]] = {ord(character): f"%{ord(character):02X}" for character in "<>|\"' `^"}
# Characters of the body that a plain message always shows, however long its head is.
_MIN_BODY: Final = 500


def rich_message(notification: Notification) -> Message:
    """The message in blocks. The id of its first block is the notification's, which marks repeats."""
    blocks = [_header(notification), _context(_plain_text(summary(notification)))]
    if names := mentions(notification.mentions):
        blocks.append(_section(names))
    ending = _ending(notification)
    room = MAX_BLOCKS_TOTAL - _total(blocks) - _total(ending)
    for block in [*_body(notification), *_fields(notification)]:
        room -= _total([block])
        if room >= 0:
            blocks.append(block)
    return _with_flags({"text": headline(notification), "blocks": [*blocks, *ending]})


def plain_message(notification: Notification) -> Message:
    """The message as plain text, in case that Slack rejected only the blocks."""
    parts = (
        mentions(notification.mentions),
        escaped(_title(notification), MAX_HEADER * 2),
        escaped(summary(notification), 400),
        _link(notification.url),
    )
    head = "\n".join(part for part in parts if part)
    body = clean(notification.body).strip("\n")
    room = max(_MIN_BODY, MAX_TEXT - length(head) - 1)
    return _with_flags({"text": f"{head}\n{code(body, room)}" if body else head})


def headline(notification: Notification) -> str:
    """Severity, title and project in one escaped line, for the notification on a phone."""
    project = notification.project
    title = _title(notification)
    is_named = project is None or not project.name or one_line(project.name) in title
    where = "" if project is None or is_named else f" · {escaped(one_line(project.name), MAX_NAME)}"
    return escaped(title, MAX_HEADER * 2) + where


def summary(notification: Notification) -> str:
    """``Error · Sales pipeline · after 3 min 5 s · attempt 2``, not escaped."""
    parts = (SEVERITIES[notification.severity][1], *_summary_facts(notification).values())
    return " · ".join(parts)


def _summary_facts(notification: Notification) -> dict[str, str]:
    """The facts of the summary, by the names of the fields that would repeat them."""
    run, project = notification.run, notification.project
    facts = {}
    if project is not None and project.name:
        facts["project"] = plain(one_line(project.name), MAX_NAME)
    if run is not None and run.duration is not None:
        facts["duration"] = f"after {describe_duration(run.duration)}"
    if run is not None and run.attempt > 1:
        facts["attempt"] = f"attempt {run.attempt}"
    if notification.event.caught_up:
        facts["happened"] = "seen after a gap"
    return facts


def mentions(names: tuple[str, ...]) -> str:
    """Slack's markup for the mentions; a name that Slack cannot resolve stays text."""
    unique = dict.fromkeys(name.strip().lstrip("@") for name in names)
    return " ".join(_mention(name) for name in list(unique)[:MAX_MENTIONS] if name)


def _mention(name: str) -> str:
    if name in _EVERYBODY:
        return f"<!{name}>"
    if _USER.fullmatch(name):
        return f"<@{name}>"
    if _GROUP.fullmatch(name):
        return f"<!subteam^{name}>"
    return "@" + escaped(one_line(name), 80)


def _title(notification: Notification) -> str:
    emoji = SEVERITIES[notification.severity][0]
    return f"{emoji} {one_line(notification.title) or notification.event.type}"


def _header(notification: Notification) -> Block:
    text = plain(_title(notification), MAX_HEADER)
    return {"type": "header", "block_id": notification.id[:MAX_ID], "text": _plain_text(text)}


def _body(notification: Notification) -> list[Block]:
    """The body; then, for an error, the run's last output unless the body contains it."""
    blocks = []
    body = clean(notification.body).strip("\n")
    if "\n" in body and notification.event.family not in _FAMILIES_WITH_OWN_TEXT:
        blocks.append(_section(code(body, MAX_BODY)))
    elif body.strip():
        blocks.append({"type": "section", "text": _plain_text(plain(body, MAX_BODY))})
    tail = clean(notification.run.output_tail).strip("\n") if notification.run is not None else ""
    if tail.strip() and notification.severity.rank >= Severity.ERROR.rank and tail not in body:
        blocks.append(_section("*Last output*\n" + code(tail, MAX_TAIL)))
    return blocks


def _fields(notification: Notification) -> list[Block]:
    """Pairs of name and value: a section shows its fields in two columns, row by row."""
    in_summary = _summary_facts(notification)
    rows = [
        (one_line(field.name), clean(field.value).strip())
        for field in notification.fields
        if field.name.casefold() not in in_summary
    ]
    cells = [
        cell
        for name, value in rows[:MAX_FIELDS]
        if name and value
        for cell in (
            _markup(f"*{escaped(name, MAX_FIELD_NAME)}*"),
            _value(value),
        )
    ]
    return [{"type": "section", "fields": cells[start : start + 10]} for start in range(0, len(cells), 10)]


def _value(value: str) -> Block:
    """A field's value; a time in each reader's own zone."""
    if _TIME.fullmatch(value):
        with suppress(ValueError):  # the 31st of June
            return _markup(_moment(datetime.fromisoformat(value.replace(" UTC", "+00:00"))))
    return _plain_text(plain(value, MAX_FIELD_VALUE))


def _ending(notification: Notification) -> list[Block]:
    link = _link(notification.url)
    small_print = _context(
        _plain_text(plain(f"rule {one_line(notification.rule)} · {one_line(notification.event.type)}", 300)),
        _markup(_moment(notification.occurred_at)),
    )
    return [_section(link), small_print] if link else [small_print]


def _moment(moment: datetime) -> str:
    """Markup for a time, which Slack shows in each reader's own zone."""
    fallback = f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"
    if not 1970 < moment.year < 2100:  # Slack refuses a message with a date outside its range
        return fallback
    return f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time_secs}}|{fallback}>"


def _link(url: str | None) -> str:
    if url is None or not url.startswith(("http://", "https://")) or one_line(url) != url:
        return ""
    target = escape(url.translate(_NOT_IN_LINKS))
    return f"<{target}|Open in the console>" if len(target) <= MAX_URL else ""


def _section(markup: str) -> Block:
    return {"type": "section", "text": _markup(markup)}


def _context(*elements: Block) -> Block:
    return {"type": "context", "elements": list(elements)}


def _markup(text: str) -> Block:
    # verbatim: Slack makes no links of URLs and channel names in the text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain_text(text: str) -> Block:
    # emoji: ":100:" in an output stays text.
    return {"type": "plain_text", "text": text, "emoji": False}


def _with_flags(message: Message) -> Message:
    return message | {"unfurl_links": False, "unfurl_media": False}


def _total(blocks: list[Block]) -> int:
    """Characters of all texts in the blocks."""
    texts = [element["text"] for block in blocks for element in _elements(block)]
    return sum(map(length, texts))


def _elements(block: Block) -> list[Block]:
    return [block["text"]] if "text" in block else [*block.get("fields", ()), *block.get("elements", ())]
