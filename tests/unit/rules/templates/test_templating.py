"""Conditions and texts: their names, their output, and their mistakes."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.domain.events import EVENT_TYPES
from aintandem_notify.rules.scope import NAMES, scope
from aintandem_notify.rules.templates.templating import (
    MAX_TEXT_CHARACTERS,
    RENDER_ERRORS,
    JinjaRuleLanguage,
    compile_expression,
    compile_template,
)
from support.happenings import SALES, happening, project_of, run_of

FAILED = happening("task_failed")


def rendered(text: str, event_type: str = "task_failed", **fields: object) -> str:
    assert JinjaRuleLanguage().template_problem(text) is None
    event = happening(event_type, **fields)
    return compile_template(text)(scope(event, run_of(event), project_of(event)))


def evaluated(text: str, event_type: str = "task_failed", **fields: object) -> bool:
    assert JinjaRuleLanguage().expression_problem(text) is None
    event = happening(event_type, **fields)
    return compile_expression(text)(scope(event, run_of(event), project_of(event)))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ event.type }} {{ event.error }}", "task_failed KeyError: 'region'"),
        ("{{ run.id }} {{ run.name }} {{ run.kind }} {{ run.attempt }}", "t-1 data-analysis task 2"),
        ("{{ run.duration }} {{ run.duration | duration }}", "130.0 2 min 10 s"),
        ("{{ run.step }} {{ run.state }}{{ run.progress }}{{ run.output_tail }}", "Load data running"),
        ("{{ project.id }} {{ project.name }}", "p1 Sales pipeline"),
        ("{{ project }}: {{ run }}", "Sales pipeline: data-analysis"),
        ("{{ event.timestamp }}", "2026-11-23 03:12:00 UTC"),
        ("{{ event.timestamp.strftime('%H:%M') }}", "03:12"),
        (
            "{{ event.project_id }} {{ event.family }} {{ event.run_id }} {{ event.caught_up }}",
            "p1 task t-1 false",
        ),
        # None prints as nothing, from any source
        ("<{{ event.exit_code }}>", "<>"),
        ("<{{ event.artifact.size }}>", "<>"),
        ("<{{ event['phase'] }}>", "<>"),
        ("<{{ event.error ~ event.image ~ 1 }}>", "<KeyError: 'region'1>"),
        ("<{{ event.image | default('no image') }}>", "<no image>"),
        ("<{{ event.image | d('none', true) }}>", "<none>"),
        ("<{{ event.error | default('no error') }}>", "<KeyError: 'region'>"),
        ("<{{ event.progress | duration }}{{ event.exit_code | size }}>", "<>"),
        ("<{{ event.wire.nothing.at.all }}>", "<>"),
        # fields unknown to this version keep their wire value
        ("{{ event.wire.taskId }}", "t-1"),
        # not escaped: destinations escape
        ("{{ '<b> & ' ~ event.error }}", "<b> & KeyError: 'region'"),
        ("{% for word in event.error.split() %}{{ loop.index }}{{ word }} {% endfor %}", "1KeyError: 2'region' "),
        ("{% if run.attempt > 1 %}again{% endif %}", "again"),
        ("{% set e = event %}{{ e.error }}{{ e.whatever }}", "KeyError: 'region'"),
        ("{{ range(3) | join('-') }}", "0-1-2"),
        ("{{ 2 ** 10 }} {{ 'ab' * 2 }}", "1024 abab"),
    ],
)
def test_a_text_shows(text: str, result: str) -> None:
    assert rendered(text) == result


def test_objects_print_as_json() -> None:
    assert rendered("{{ event.output }}", "task_completed") == '{\n  "rows": 12\n}'
    assert rendered("{{ event.input.dataset }}", "task_queued") == "sales-2024"
    assert (
        rendered("{{ event.artifact.path }} {{ event.artifact.size | size }}", "artifact")
        == "out/report.pdf 1.2 MB"
    )


def test_unknown_fields_can_be_read() -> None:
    assert rendered("{{ event.wire.gpuCount }}", "gpu_warmed", gpuCount=8) == "8"
    assert rendered("{% set name = 'gpuCount' %}{{ event[name] }}", "gpu_warmed", gpuCount=8) == "8"
    assert rendered("{{ event.wire.artifact.mimeType }}", "artifact", artifact={"mimeType": "a/b"}) == "a/b"


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_name_is_there_for_every_event(event_type: str) -> None:
    everything = " ".join(f"{{{{ {owner}.{name} }}}}" for owner, names in NAMES.items() for name in sorted(names))
    assert "None" not in rendered(everything, event_type)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("run.duration is none or run.duration > 60", True),
        ("run.duration > 600", False),
        ("'KeyError' in event.error", True),
        ("event.exit_code is none", True),
        ("event.exit_code", False),
        ("run.attempt == 2 and project.name.startswith('Sales')", True),
        ("event.type in ['task_failed']", True),
        ("event.family == 'task'", True),
        ("not event.caught_up", True),
        ("event.timestamp.hour < 7", True),
    ],
)
def test_a_condition_says(text: str, result: bool) -> None:
    assert evaluated(text) is result


TEMPLATE_PROBLEMS = [
    ("{{ event.eror }}", "event has no eror; did you mean error?"),
    ("{{ event['eror'] }}", "event has no eror; did you mean error?"),
    ("{{ event.taskId }}", "event has no taskId; did you mean task_id?"),
    ("{{ run.durtion }}", "run has no durtion; did you mean duration?"),
    ("{{ project.zebra }}", "project has no zebra"),
    ("{{ evnt.error }}", "there is no evnt; did you mean event?"),
    ("{{ zebra }}", "there is no zebra; there are event, run and project"),
    ("{{ run.a }}{{ run.a }}{{ event.b }}", "run has no a; event has no b"),
    ("{{ event.__class__ }}", "event has no __class__"),
    ("{{ lipsum() }}", "there is no lipsum; there are event, run and project"),
    ("{% include 'x' %}", "there are no other templates to include"),
    ("{% if %}", "no Jinja2 template: expected an expression, got 'end of statement block'"),
    ("{{ run.name", "no Jinja2 template: unexpected end, expected 'end of print statement'"),
    ("first\n{{ }}\n", "no Jinja2 template: line 2: expected an expression, got 'end of print statement'"),
    ("{{ run.name | uper }}", "no Jinja2 template: no filter called uper; did you mean upper?"),
    ("{{ run.name is strng }}", "no Jinja2 template: no test called strng; did you mean string?"),
    ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "no Jinja2 template: nested too deep"),
]


@pytest.mark.parametrize(("text", "problem"), TEMPLATE_PROBLEMS, ids=[text[:30] for text, _ in TEMPLATE_PROBLEMS])
def test_mistakes_in_a_text_are_found_by_the_check(text: str, problem: str) -> None:
    assert JinjaRuleLanguage().template_problem(text) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no Jinja2 expression: unexpected end; leave the key out for a rule that always applies"),
        ("run.duration >", "no Jinja2 expression: unexpected end"),
        ("run.attempt > 1 && event.error", "no Jinja2 expression: unexpected char '&' at 16; write and"),
        ("run.attempt > 1 || event.error", "no Jinja2 expression: expected token 'name', got '|'; write or"),
        ("run.attempt = 1", "no Jinja2 expression: unexpected '=' after the expression; write == to compare"),
        ("!event.error", "no Jinja2 expression: unexpected char '!' at 0; write not"),
        (
            "run.duration > 60s",
            "no Jinja2 expression: unexpected 's' after the expression; durations are numbers here, in seconds",
        ),
        ("run.duration > 60 60", "no Jinja2 expression: unexpected 60 after the expression"),
        (
            "{{ run.duration }}",
            "no Jinja2 expression: expected token ':', got '}'; write the expression alone, without {{ }}",
        ),
        ("run.durtion > 60", "run has no durtion; did you mean duration?"),
        ("duration > 60", "there is no duration; there are event, run and project"),
    ],
)
def test_mistakes_in_a_condition_are_found_by_the_check(text: str, problem: str) -> None:
    assert JinjaRuleLanguage().expression_problem(text) == problem


def test_an_event_prints_as_it_came() -> None:
    event = happening("task_failed", error="no")
    printed = compile_template("{{ event }}")(scope(event, None, None))
    assert json.loads(printed) == event.wire()
    assert compile_template("{{ run }}{{ project }}")(scope(event, None, None)) == ""


def test_a_name_that_the_text_makes_itself_is_its_own_matter() -> None:
    assert JinjaRuleLanguage().template_problem("{% for run in range(2) %}{{ run.real }}{% endfor %}") is None


@pytest.mark.parametrize(
    "text",
    [
        "{{ range(10000000) | join }}",
        "{{ 'x' * 100000 }}",
        "{{ 100000 * 'x' }}",
        "{{ 10 ** 100000 }}",
        "{{ [1] * 100000 }}",
        "{{ event.error.missing() }}",
        "{{ event.image.upper() }}",
        "{{ 1 / 0 }}",
        "{{ event.error | int + 'a' }}",
        "{{ event.error.__class__ }}",
        "{% set _ = event.wire.update({}) %}",
        "{{ ''.join(event.timestamp) }}",
        "{{ event.wire['nothing'] + 1 }}",
    ],
)
def test_a_template_that_raises_raises_an_expected_error(text: str) -> None:
    with pytest.raises(RENDER_ERRORS):
        compile_template(text)(scope(FAILED, run_of(FAILED), SALES))


def test_a_text_that_never_ends_is_cut() -> None:
    text = compile_template(
        "{% for a in range(9999) %}{% for b in range(9999) %}0123456789{% endfor %}{% endfor %}"
    )
    assert MAX_TEXT_CHARACTERS < len(text(scope(FAILED, None, None))) < 3 * MAX_TEXT_CHARACTERS


@given(st.text())
def test_a_text_without_braces_is_its_own_rendering(text: str) -> None:
    plain = text.replace("{", "(").replace("\r\n", "\n").replace("\r", "\n")
    assert JinjaRuleLanguage().template_problem(plain) is None
    assert compile_template(plain)(scope(FAILED, None, None)) == plain.removesuffix("\n")


@given(st.text("{}%#|.()[]'\" eventrun_1+~\n", max_size=30))
def test_no_text_breaks_the_check_and_checked_texts_render_or_raise_as_expected(text: str) -> None:
    language = JinjaRuleLanguage()
    names = scope(FAILED, run_of(FAILED), SALES)
    for problem, compiled in (
        (language.template_problem(text), compile_template),
        (language.expression_problem(text), compile_expression),
    ):
        if problem is not None:
            assert problem
            continue
        with contextlib.suppress(*RENDER_ERRORS):
            compiled(text)(names)
