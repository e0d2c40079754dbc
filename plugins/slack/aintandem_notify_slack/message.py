"""A notification as a Slack message: what goes where, and how much of it.

Top to bottom: a header that says what happened, one line on how bad it is, where and how long, who is called,
the body, the last lines of output where something went wrong, named facts, a link, and small print. A message is
within all of Slack's limits whatever the notification holds; texts that come from tasks stand in ``plain_text``
objects and code blocks only, where Slack reads no markup.

The link is no button: Slack shows a warning beside a button whose app does not answer clicks.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from aintandem_notify.api import Notification, Severity, describe_duration
from aintandem_notify_slack.text import clean, code, escape, escaped, length, one_line, plain

Message = dict[str, Any]
Block = dict[str, Any]

MAX_BLOCKS_TOTAL: Final = 7500
"""Characters in all blocks together: 8,000 are too many, and this leaves room for counting otherwise."""
MAX_TEXT: Final = 4000
"""Characters of a top-level text that people see without unfolding."""
MAX_HEADER: Final = 150
MAX_BODY: Final = 2900
"""Of the 3,000 that a section takes."""
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
"""What stands before a title, and the word for people who do not see it."""

# What we say ourselves of links and of the agent is prose; lines of tasks keep their columns in a code block.
_OWN_WORDS: Final = frozenset({"connection", "agent"})
_EVERYBODY: Final = frozenset({"here", "channel", "everyone"})
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,30}")
_GROUP: Final = re.compile(r"S[A-Z0-9]{2,30}")
_NOT_IN_LINKS: Final[Mapping[int, str]] = {ord(character): f"%{ord(character):02X}" for character in "<>|\"' `^"}
# Shown in any case, however long the rest of a plain message is.
_LEAST_BODY: Final = 500


def rich_message(notification: Notification) -> Message:
    """The message in blocks. Its first block's id is the notification's, so that repeats can be told."""
    blocks = [_header(notification), _context(_plain_text(summary(notification)))]
    if called := mentions(notification.mentions):
        blocks.append(_section(called))
    ending = _ending(notification)
    room = MAX_BLOCKS_TOTAL - _total(blocks) - _total(ending)
    for block in [*_body(notification), *_fields(notification)]:
        room -= _total([block])
        if room >= 0:
            blocks.append(block)
    return _with_flags({"text": headline(notification), "blocks": [*blocks, *ending]})


def plain_message(notification: Notification) -> Message:
    """The message as text alone, for when Slack takes no offence at anything but blocks."""
    parts = (
        mentions(notification.mentions),
        escaped(_title(notification), MAX_HEADER * 2),
        escaped(summary(notification), 400),
        _link(notification.url),
    )
    head = "\n".join(part for part in parts if part)
    body = clean(notification.body).strip("\n")
    room = max(_LEAST_BODY, MAX_TEXT - length(head) - 1)
    return _with_flags({"text": f"{head}\n{code(body, room)}" if body else head})


def headline(notification: Notification) -> str:
    """Severity, title and project in one escaped line; what a phone shows."""
    project = notification.project
    title = _title(notification)
    is_said = project is None or not project.name or one_line(project.name) in title
    where = "" if project is None or is_said else f" · {escaped(one_line(project.name), MAX_NAME)}"
    return escaped(title, MAX_HEADER * 2) + where


def summary(notification: Notification) -> str:
    """``Error · Sales pipeline · after 3 min 5 s · attempt 2``, not escaped."""
    parts = (SEVERITIES[notification.severity][1], *_summed_up(notification).values())
    return " · ".join(parts)


def _summed_up(notification: Notification) -> dict[str, str]:
    """The facts of the summary, by the name of the field that would say the same."""
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
    """Slack's markup for whom to call; a name that Slack could not resolve is left as text."""
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
    """The body, then the last output of a run in trouble unless the body shows it already."""
    blocks = []
    body = clean(notification.body).strip("\n")
    if "\n" in body and notification.event.family not in _OWN_WORDS:
        blocks.append(_section(code(body, MAX_BODY)))
    elif body.strip():
        blocks.append({"type": "section", "text": _plain_text(plain(body, MAX_BODY))})
    tail = clean(notification.run.output_tail).strip("\n") if notification.run is not None else ""
    if tail.strip() and notification.severity.rank >= Severity.ERROR.rank and tail not in body:
        blocks.append(_section("*Last output*\n" + code(tail, MAX_TAIL)))
    return blocks


def _fields(notification: Notification) -> list[Block]:
    """Name and value side by side: a section lays its fields out in two columns, row by row."""
    said = _summed_up(notification)
    rows = [
        (one_line(field.name), clean(field.value).strip())
        for field in notification.fields
        if field.name.casefold() not in said
    ]
    cells = [
        cell
        for name, value in rows[:MAX_FIELDS]
        if name and value
        for cell in (
            _markup(f"*{escaped(name, MAX_FIELD_NAME)}*"),
            _plain_text(plain(value, MAX_FIELD_VALUE)),
        )
    ]
    return [{"type": "section", "fields": cells[start : start + 10]} for start in range(0, len(cells), 10)]


def _ending(notification: Notification) -> list[Block]:
    link = _link(notification.url)
    small_print = _context(
        _plain_text(plain(f"rule {one_line(notification.rule)} · {one_line(notification.event.type)}", 300)),
        _markup(_moment(notification.occurred_at)),
    )
    return [_section(link), small_print] if link else [small_print]


def _moment(moment: datetime) -> str:
    """A time that Slack shows in each reader's own zone."""
    fallback = f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"
    if not 1970 < moment.year < 2100:  # Slack refuses a message with a date that it does not know
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
    # verbatim: Slack finds no links and channel names of its own in it.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain_text(text: str) -> Block:
    # emoji false: ":100:" in an output stays as it is.
    return {"type": "plain_text", "text": text, "emoji": False}


def _with_flags(message: Message) -> Message:
    return message | {"unfurl_links": False, "unfurl_media": False}


def _total(blocks: list[Block]) -> int:
    """Characters of all texts in the blocks."""
    texts = [element["text"] for block in blocks for element in _elements(block)]
    return sum(map(length, texts))


def _elements(block: Block) -> list[Block]:
    return [block["text"]] if "text" in block else [*block.get("fields", ()), *block.get("elements", ())]
