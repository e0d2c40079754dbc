"""The texts, mentions and links of a notification that a rule makes."""

from typing import Any

import pytest
import structlog

from aintandem_notify.domain.notification import Severity
from aintandem_notify.rules import Router, default_texts
from support.happenings import NOW, SALES, happening, project_of, run_of
from support.routing import SLACK, config, destination, only, routed, rule


def test_texts_that_raise_give_way_to_the_default_and_are_logged_once_each() -> None:
    broken = "{{ event.error.missing() }}"
    router = Router(
        config(SLACK, rule("r", "task/*", "slack.team", title=broken, body=broken), console_url=broken)
    )
    event = happening("task_failed")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            notification = only(router.route(event, run_of(event), SALES, NOW))
    assert (notification.title, notification.body) == ('Task "data-analysis" failed', "KeyError: 'region'")
    assert notification.url is None
    assert sorted((line["part"], line["rule"]) for line in logs) == [
        ("body", "r"),
        ("console_url", "orchestrator"),
        ("title", "r"),
    ]


def test_a_notification_whose_facts_raise_is_sent_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fields(_context: object) -> None:
        raise KeyError("odd")

    router = Router(config(SLACK, rule("r", "task/*", "slack.team", title="some text")))
    event = happening("task_failed")
    run = run_of(event)
    monkeypatch.setattr(default_texts, "fields", fields)
    with structlog.testing.capture_logs() as logs:
        sent = router.route(event, run, SALES, NOW)
    assert sent == router.route_without_texts(event, run, SALES, NOW)
    (line,) = logs
    assert (line["rule"], line["part"]) == ("r", "text of task_failed")
    assert (line["reason"], line["so"]) == ("KeyError: 'odd'", "it is sent without its text")


def test_a_rule_writes_its_own_text() -> None:
    settings = config(
        SLACK,
        rule(
            "r",
            "task/*",
            "slack.team",
            title="{{ run.name }}\nfailed",
            body="{{ event.error }}{{ event.image }}",
            severity=Severity.CRITICAL,
            mention=("here", "U123"),
        ),
    )
    notification = only(routed(settings, happening("task_failed")))
    assert notification.title == "data-analysis failed"
    assert notification.body == "KeyError: 'region'"
    assert (notification.severity, notification.mentions) == (Severity.CRITICAL, ("here", "U123"))
    assert ("Project", "Sales pipeline") in notification.fields


def mentioned(*mention: str, **fields: Any) -> tuple[str, ...]:
    settings = config(SLACK, rule("r", "task/*", "slack.team", mention=mention))
    return only(routed(settings, happening("task_failed", **fields))).mentions


def test_a_mention_is_a_template() -> None:
    assert mentioned("{{ event.wire.owner }}", "U1", owner="U23") == ("U23", "U1")
    assert mentioned("{% if run.attempt > 9 %}U1{% endif %}", "U2") == ("U2",)
    assert mentioned("{{ event.wire.owner }}") == ()
    assert mentioned("{{ event.wire.owner }}", owner="  anna\n\x1b[1mmay ") == ("anna may",)
    assert len(mentioned("{{ event.wire.owner }}", owner="x" * 5000)[0]) <= 200


def test_the_mentions_of_an_instance_are_templates_too() -> None:
    settings = config(destination("slack.team", events=("task_failed",), mention=("{{ event.wire.owner }}",)))
    assert only(routed(settings, happening("task_failed", owner="U23"))).mentions == ("U23",)


EVERYBODY_IN_AN_EVENT = [
    *(
        "here",
        "channel",
        "everyone",
        "@here",
        " @Channel ",
        "<!channel>",
        "<!here|here>",
        "EVERYONE",
        "he\u200bre",
    ),
    *("U1 @channel", "\uff48\uff45\uff52\uff45", "@everyone,U1", "channel\n"),
]


@pytest.mark.parametrize("text", EVERYBODY_IN_AN_EVENT)
def test_no_text_of_an_event_mentions_everybody(text: str) -> None:
    assert mentioned("{{ event.wire.owner }}", "U1", owner=text) == ("U1",)
    assert mentioned("@{{ event.wire.owner | trim }}", owner=text) == ()
    assert mentioned("{{ event.wire.owner or 'U2' }}", owner=text) == ()


def test_no_text_of_an_event_completes_a_mention_of_everybody() -> None:
    assert mentioned("he{{ event.wire.owner }}", owner="re") == ()
    assert mentioned("{{ 'chan' ~ event.wire.owner }}", owner="nel") == ()


def test_a_template_may_mention_everybody_by_its_own_words() -> None:
    assert mentioned("{{ 'here' if event.error else 'U1' }}") == ("here",)
    assert mentioned("{% if event.error %}channel{% endif %}") == ("channel",)
    assert mentioned("{{ event.wire.owner or 'here' }}", owner="everyone") == ()
    assert mentioned("here", "channel") == ("here", "channel")


def test_a_mention_that_raises_is_left_out_and_logged_once() -> None:
    settings = config(SLACK, rule("r", "task/*", "slack.team", mention=("{{ 1 / event.progress }}", "U1")))
    router = Router(settings)
    event = happening("task_failed")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            sent = router.route(event, run_of(event), project_of(event), NOW)
            assert only(sent).mentions == ("U1",)
    (line,) = logs
    assert (line["rule"], line["part"], line["so"]) == ("r", "mention", "it mentions nobody")


def test_without_texts_of_events_only_constant_mentions_stay() -> None:
    settings = config(SLACK, rule("r", "task/*", "slack.team", mention=("here", "{{ run.name }}")))
    event = happening("task_failed")
    sent = Router(settings).route_without_texts(event, run_of(event), project_of(event), NOW)
    assert only(sent).mentions == ("here",)


def test_an_empty_title_is_no_title_but_an_empty_body_is_one() -> None:
    settings = config(
        SLACK, rule("r", "task/*", "slack.team", title=" {{ event.image }} ", body="{{ event.image }}")
    )
    notification = only(routed(settings, happening("task_failed")))
    assert (notification.title, notification.body) == ('Task "data-analysis" failed', "")


def test_nothing_of_a_secret_or_a_terminal_gets_into_a_text() -> None:
    token = "xoxb-" + "1234567890-abcdefghijkl"
    settings = config(
        SLACK, rule("r", "task/*", "slack.team", title="{{ event.error }}", body="{{ event.error }}" * 3)
    )
    notification = only(routed(settings, happening("task_failed", error=f"\x1b[31m{token}"), step=token))
    assert "xoxb-1" not in f"{notification.title} {notification.body} {notification.fields}"
    cut = config(SLACK, rule("r", "task/*", "slack.team", title="{{ event.error[:12] }}"))
    assert "xoxb-1" not in only(routed(cut, happening("task_failed", error=token))).title
    assert "\x1b" not in notification.title + notification.body


def test_a_text_has_an_upper_bound() -> None:
    settings = config(
        SLACK, rule("r", "task/*", "slack.team", title="{{ event.error }}", body="{{ event.error * 9 }}")
    )
    notification = only(routed(settings, happening("task_failed", error="x" * 7000)))
    assert len(notification.title) == 500
    assert len(notification.body) == 63_000
    settings = config(SLACK, rule("r", "task/*", "slack.team", body="{{ event.error }}"))
    notification = only(routed(settings, happening("task_failed", error="x" * 70_000)))
    assert notification.body == "x" * 65_536 + "\n[…]"


@pytest.mark.parametrize(
    ("template", "url"),
    [
        (None, None),
        ("https://console.example/{{ project.id }}/{{ run.id }}", "https://console.example/p1/t-1"),
        (" http://console.example \n", "http://console.example"),
        ("{{ event.image }}", None),
        ("{{ 'javascript:alert(1)' }}", None),
        ("https://console.example/{{ project.name }}", None),
        ("https://console.example/{{ project.name | urlencode }}", "https://console.example/Sales%20pipeline"),
    ],
)
def test_a_notification_links_to_the_console(template: str | None, url: str | None) -> None:
    assert only(routed(config(SLACK, console_url=template), happening("task_failed"))).url == url


@pytest.mark.parametrize(
    ("template", "urls"),
    [
        (
            "https://console.example/projects/{{ project.id }}",
            ["https://console.example/projects/p1", "https://console.example/projects/p1", None],
        ),
        (
            "https://console.example/{{ project.id }}/runs/{{ run.id }}",
            ["https://console.example/p1/runs/t-1", None, None],
        ),
        (
            "https://console.example/{{ project.id or '' }}",
            ["https://console.example/p1", "https://console.example/p1", "https://console.example/"],
        ),
    ],
)
def test_there_is_no_link_with_a_hole_in_it(template: str, urls: list[str | None]) -> None:
    settings = config(SLACK, rule("r", "* connection/* agent/*", "slack.team"), console_url=template)
    types = ("task_failed", "connection_error", "login_failed")
    assert [only(routed(settings, happening(event_type))).url for event_type in types] == urls


def test_a_notification_says_everything_about_its_event() -> None:
    event = happening("task_failed")
    run = run_of(event)
    notification = only(Router(config(SLACK)).route(event, run, SALES, NOW))
    assert (notification.event, notification.run, notification.project) == (event, run, SALES)
    assert (notification.rule, notification.created_at, notification.occurred_at) == ("default", NOW, NOW)
    assert (notification.severity, notification.previous) == (Severity.ERROR, None)
