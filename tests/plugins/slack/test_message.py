"""The layout of a Slack message, and that Slack accepts it for any notification."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.api import Field, Notification, Project, Severity
from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.testing import sample_event, sample_notification
from aintandem_notify_slack.message import (
    SEVERITIES,
    mentions,
    plain_message,
    rich_message,
    summary,
)
from support.slack_rules import MAX_TOTAL, problem, texts
from support.slack_rules import length as strict_length


def _text_of(message: dict[str, Any]) -> str:
    return "\n".join(texts(message["blocks"]))


def test_a_failure_as_people_read_it() -> None:
    notification = sample_notification(
        "task_failed", mentions=("here", "U123"), url="https://console.example/p/1", rule="failures"
    )
    message = rich_message(notification)
    assert message == {
        "text": "❌ Refactor the payment module: task failed · Sales pipeline",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {
                "type": "header",
                "block_id": notification.id,
                "text": {
                    "type": "plain_text",
                    "text": "❌ Refactor the payment module: task failed",
                    "emoji": False,
                },
            },
            {
                "type": "context",
                "elements": [
                    {"type": "plain_text", "text": "Error · Sales pipeline · after 42 s", "emoji": False}
                ],
            },
            _markup_section("<!here> <@U123>"),
            {
                "type": "section",
                "text": {
                    "type": "plain_text",
                    "text": "AssertionError: expected 200, got 502",
                    "emoji": False,
                },
            },
            _markup_section("*Last output*\n```\ncollected 320 items\ntests/test_pay.py ....F..\n```"),
            _markup_section("<https://console.example/p/1|Open in the console>"),
            {
                "type": "context",
                "elements": [
                    {"type": "plain_text", "text": "rule failures · task_failed", "emoji": False},
                    {
                        "type": "mrkdwn",
                        "text": "<!date^1767605400^{date_short_pretty} {time_secs}|2026-01-05 09:30:00 UTC>",
                        "verbatim": True,
                    },
                ],
            },
        ],
    }


def _markup_section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def test_a_failure_as_plain_text() -> None:
    notification = sample_notification("task_failed", mentions=("here",), error="a\n<b>")
    assert plain_message(notification) == {
        "text": "<!here>\n❌ Refactor the payment module: task failed\nError · Sales pipeline · after 42 s\n"
        "```\na\n&lt;b&gt;\n```",
        "unfurl_links": False,
        "unfurl_media": False,
    }


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, "quantum_entangled"])
@pytest.mark.parametrize("build", [rich_message, plain_message])
def test_every_event_makes_a_message_that_slack_takes(event_type: str, build: Any) -> None:
    assert problem(build(sample_notification(event_type))) is None


@pytest.mark.parametrize("severity", list(Severity))
def test_each_severity_has_its_emoji_and_word(severity: Severity) -> None:
    message = rich_message(sample_notification(severity=severity))
    emoji, word = SEVERITIES[severity]
    assert message["text"].startswith(emoji)
    assert message["blocks"][0]["text"]["text"].startswith(emoji)
    assert message["blocks"][1]["elements"][0]["text"].startswith(word)


def test_several_lines_are_a_code_block() -> None:
    text = _text_of(rich_message(sample_notification("task_failed", error="Traceback\n  File <x>\nKeyError: 'a'")))
    assert "```\nTraceback\n  File &lt;x&gt;\nKeyError: 'a'\n```" in text


def test_our_own_texts_are_prose_and_name_the_project_once() -> None:
    lost = sample_notification(
        "connection_disconnected", title="Connection to project Sales pipeline lost", body="lost\nTrying again."
    )
    message = rich_message(lost)
    assert message["text"] == "ℹ️ Connection to project Sales pipeline lost"
    assert "lost\nTrying again." in texts(message["blocks"])


def test_output_is_shown_once_and_only_for_errors() -> None:
    assert "*Last output*" not in _text_of(rich_message(sample_notification("task_completed")))
    failed = sample_notification("task_failed")
    assert failed.run is not None
    assert "*Last output*" in _text_of(rich_message(failed))
    with_output = failed.model_copy(update={"body": "failed with\n" + failed.run.output_tail})
    assert "*Last output*" not in _text_of(rich_message(with_output))


def test_fields_stand_beside_their_names() -> None:
    fields = (
        Field("Branch", "main & <next>"),
        Field("Project", "said above"),
        Field("Empty", " "),
        Field("", "x"),
    )
    blocks = rich_message(sample_notification(fields=fields))["blocks"]
    (section,) = [block for block in blocks if "fields" in block]
    assert section["fields"] == [
        {"type": "mrkdwn", "text": "*Branch*", "verbatim": True},
        {"type": "plain_text", "text": "main & <next>", "emoji": False},
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (
            "2026-01-31 22:05:00 UTC",
            "<!date^1769897100^{date_short_pretty} {time_secs}|2026-01-31 22:05:00 UTC>",
        ),
        ("2026-06-31 22:05:00 UTC", "2026-06-31 22:05:00 UTC"),
        ("2200-01-01 22:05:00 UTC", "2200-01-01 22:05:00 UTC"),
        ("at 2026-01-31 22:05:00 UTC", "at 2026-01-31 22:05:00 UTC"),
    ],
)
def test_a_time_is_shown_in_the_zone_of_the_reader(value: str, shown: str) -> None:
    blocks = rich_message(sample_notification(fields=(Field("Oldest", value),)))["blocks"]
    (section,) = [block for block in blocks if "fields" in block]
    assert section["fields"][1]["text"] == shown


def test_at_most_ten_fields_in_sections_of_ten_cells() -> None:
    fields = tuple(Field(f"name {number}", "x" * 5000) for number in range(30))
    blocks = rich_message(sample_notification(fields=fields))["blocks"]
    assert [len(block["fields"]) for block in blocks if "fields" in block] == [10, 10]


def test_the_summary_says_attempt_and_lateness() -> None:
    event = sample_event("task_failed", caughtUp=True)
    notification = sample_notification(event)
    assert notification.run is not None
    second = notification.model_copy(update={"run": replace(notification.run, attempt=2)})
    assert summary(second) == ("Error · Sales pipeline · after 42 s · attempt 2 · seen after a gap")


def test_facts_of_the_summary_are_not_repeated() -> None:
    names = ("Project", "Duration", "Attempt", "Happened", "Step")
    fields = tuple(Field(name, "x") for name in names)
    blocks = rich_message(sample_notification("task_failed", fields=fields))["blocks"]
    (section,) = [block for block in blocks if "fields" in block]
    assert [cell["text"] for cell in section["fields"][::2]] == ["*Attempt*", "*Happened*", "*Step*"]


def test_agent_events_have_no_project_and_no_duration() -> None:
    assert summary(sample_notification("destination_parked")) == "Error"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("here",), "<!here>"),
        (("channel", "everyone"), "<!channel> <!everyone>"),
        (("U123ABC", "W999"), "<@U123ABC> <@W999>"),
        (("S0614TZR7",), "<!subteam^S0614TZR7>"),
        (("@here", " U123 "), "<!here> <@U123>"),
        (("here", "@here", "U123", "U123"), "<!here> <@U123>"),
        (("anna",), "@anna"),
        (("<!channel>",), "@&lt;!channel&gt;"),
        (("Uwe",), "@Uwe"),
        (("", "@"), ""),
        ((), ""),
    ],
)
def test_mentions(names: tuple[str, ...], expected: str) -> None:
    assert mentions(names) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://c.example/p?a=1&b=2", "<https://c.example/p?a=1&amp;b=2|Open in the console>"),
        ("http://c.example/<!channel>|x y", "<http://c.example/%3C!channel%3E%7Cx%20y|Open in the console>"),
    ],
)
def test_links(url: str, expected: str) -> None:
    message = rich_message(sample_notification(url=url))
    assert problem(message) is None
    assert expected in _text_of(message)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "c.example", "https://x/" + "y" * 3000, "https://x/\n"])
def test_an_invalid_link_is_left_out(url: str) -> None:
    message = rich_message(sample_notification(url=url))
    assert problem(message) is None
    assert "Open in the console" not in _text_of(message)


_NASTY = (
    st.text(st.characters())
    | st.text("`&<>|!@ \n\r\x1b[0m😀", max_size=400)
    | st.sampled_from(
        [
            "",
            " ",
            "<!channel>",
            "```",
            "&" * 9000,
            "<" * 40_000,
            "`" * 9000,
            "😀" * 9000,
            "line\n" * 5000,
            "\0" * 50,
        ]
    )
)


@st.composite
def _notifications(draw: st.DrawFn) -> Notification:
    event = sample_event("task_failed", error="x", taskId=draw(st.text("ab", min_size=1)))
    notification = sample_notification(event)
    assert notification.run is not None
    return notification.model_copy(
        update={
            "id": "ntf_" + "0" * 32,
            "severity": draw(st.sampled_from(Severity)),
            "title": draw(_NASTY),
            "body": draw(_NASTY),
            "fields": tuple(Field(draw(_NASTY), draw(_NASTY)) for _ in range(draw(st.integers(0, 12)))),
            "mentions": tuple(draw(st.lists(_NASTY | st.sampled_from(["here", "U123", "S123"]), max_size=30))),
            "url": draw(st.none() | _NASTY | _NASTY.map(lambda text: "https://x/" + text)),
            "rule": draw(_NASTY),
            "project": draw(st.none() | st.builds(Project, id=_NASTY, name=_NASTY)),
            "run": replace(notification.run, output_tail=draw(_NASTY), name=draw(_NASTY)),
        }
    )


@given(_notifications())
def test_slack_accepts_the_message_of_any_notification(notification: Notification) -> None:
    message = rich_message(notification)
    assert problem(message) is None
    assert sum(map(strict_length, texts(message["blocks"]))) < MAX_TOTAL
    assert message["blocks"][0]["block_id"] == notification.id
    assert problem(plain_message(notification)) is None


@given(_NASTY)
def test_no_text_of_a_task_mentions_anybody(text: str) -> None:
    notification = sample_notification("task_failed").model_copy(update={"title": text, "body": text})
    for message in (rich_message(notification), plain_message(notification)):
        markup = [message["text"]] + [
            block["text"]["text"]
            for block in message.get("blocks", ())
            if block.get("text", {}).get("type") == "mrkdwn"
        ]
        assert not [text for text in markup if "<!" in text or "<@" in text]
