"""The cost budget: a template that needs hours or gigabytes fails the check and renders as the default text."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aintandem_notify.rules.scope import Scope, scope
from aintandem_notify.rules.templates import cost_budget
from aintandem_notify.rules.templates.cost_budget import RENDER_BUDGET, BudgetExceeded, charge, cost_of
from aintandem_notify.rules.templates.template_sandbox import make_sandbox
from aintandem_notify.rules.templates.templating import (
    MAX_TEXT_CHARACTERS,
    RENDER_ERRORS,
    JinjaRuleLanguage,
    compile_expression,
    compile_template,
)
from support.happenings import SALES, happening, run_of
from support.nasty import templates

SENTENCE = "it takes too long or makes too long a text"
TESTS = Path(__file__).parents[3]

TRY = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
from aintandem_notify.rules.templates.templating import JinjaRuleLanguage, compile_template
from support.happenings import SALES, happening, run_of
from aintandem_notify.rules.scope import scope
from support.nasty import templates
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
event = happening("task_failed")
names = scope(event, run_of(event), SALES)

def outcome(text):
    try:
        return len(compile_template(text)(names))
    except Exception as error:
        return type(error).__name__

print(json.dumps({
    name: [JinjaRuleLanguage().template_problem(text), outcome(text)]
    for name, text in (templates.TOO_MUCH | templates.ODD).items()
}))
"""


def names() -> Scope:
    event = happening("task_failed")
    return scope(event, run_of(event), SALES)


def rendered(text: str) -> str:
    return compile_template(text)(names())


@pytest.fixture(scope="module")
def tried() -> dict[str, tuple[str | None, object]]:
    """The results of check and agent for each template, from a process limited to half a gigabyte."""
    run = subprocess.run(
        [sys.executable, "-c", TRY],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    outcomes: dict[str, tuple[str | None, object]] = json.loads(run.stdout)
    return outcomes


@pytest.mark.parametrize("name", templates.TOO_MUCH)
def test_a_template_over_budget_fails_the_check_and_is_refused_by_the_agent(
    name: str, tried: dict[str, tuple[str | None, object]]
) -> None:
    problem, outcome = tried[name]
    assert problem is not None
    assert problem.endswith(SENTENCE)
    assert isinstance(outcome, str) or outcome <= 3 * MAX_TEXT_CHARACTERS  # type: ignore[operator]


@pytest.mark.parametrize("name", templates.ODD)
def test_an_odd_template_ends_neither_check_nor_agent(
    name: str, tried: dict[str, tuple[str | None, object]]
) -> None:
    problem, outcome = tried[name]
    assert problem is None or problem
    assert isinstance(outcome, str) or outcome <= 3 * MAX_TEXT_CHARACTERS  # type: ignore[operator]


@pytest.mark.parametrize("text", templates.HARMLESS.values(), ids=templates.HARMLESS)
def test_ordinary_templates_render(text: str) -> None:
    assert JinjaRuleLanguage().template_problem(text) is None
    assert rendered(text)


def test_the_problem_says_the_line() -> None:
    text = "fine\n{{ event.error }}\n{{ 'x' | center(10 ** 9) }}\n"
    assert JinjaRuleLanguage().template_problem(text) == f"line 3: {SENTENCE}"
    with pytest.raises(BudgetExceeded) as raised:
        rendered(text)
    assert raised.value.line == 3


@pytest.mark.parametrize(
    "text", ["'%99999999s' % 1 == 'x'", "'x' * 10 ** 9", "range(99999) | list in [[]] * 9999"]
)
def test_a_condition_has_a_budget_too(text: str) -> None:
    assert JinjaRuleLanguage().expression_problem(text) == SENTENCE
    with pytest.raises(BudgetExceeded):
        compile_expression(text)(names())


def test_each_rendering_has_a_budget_of_its_own() -> None:
    dear = compile_template("{% for a in range(90000) %}{% endfor %}")
    for _ in range(3):
        assert dear(names()) == ""


def test_a_long_output_can_be_taken_apart() -> None:
    event = happening("task_completed", output="a line of the log\n" * 60_000)
    text = "{{ (event.output | string).splitlines()[-2:] | join(', ') }}{{ event.output | length }}"
    assert compile_template(text)(scope(event, None, None)) == "a line of the log, a line of the log1080000"


def test_an_output_of_some_megabytes_can_be_shown() -> None:
    event = happening("task_completed", output="x" * 5_000_000)
    assert len(compile_template("{{ event.output }}")(scope(event, None, None))) >= MAX_TEXT_CHARACTERS


def test_nothing_is_worked_out_while_a_template_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = make_sandbox(str)
    sandbox.filters["boom"] = sandbox.tests["boom"] = lambda _value: 1 / 0
    sandbox.from_string("{{ 'x' | boom }}{% if 'x' is boom %}{% endif %}{{ ['x' | boom] }}")


def test_spending_outside_of_a_rendering_is_free() -> None:
    charge(2 * RENDER_BUDGET)
    with cost_budget.render_budget(), pytest.raises(BudgetExceeded):
        charge(RENDER_BUDGET + 1)


def test_the_cost_of_a_value_follows_its_printed_size() -> None:
    value: list[object] = ["x" * 100]
    light = cost_of(value)
    assert light >= 100
    assert cost_of([value, value]) >= 2 * light
    for _ in range(100):
        value = [value, value]
    with pytest.raises(BudgetExceeded):
        cost_of(value)


TEXT = st.sampled_from(
    ["'x'", "'x' * 60000", "'%99999s'", "'{:99999}'", "'a\\tb c'", "event", "event.error", "''"]
)
BIG = st.sampled_from(["10 ** 9", "99999", "3", "-1", "10 ** 60", "65536", "0"])
MANY = st.sampled_from(["range(99999)", "[[0] * 99] * 99", "event.wire", "('ab',)", "range(9) | map('string')"])
FILTERS = st.sampled_from(sorted(name for name in make_sandbox(str).filters if name.isidentifier()))
METHODS = st.sampled_from(
    [
        "center",
        "encode",
        "expandtabs",
        "format",
        "join",
        "ljust",
        "replace",
        "split",
        "splitlines",
        "title",
        "zfill",
    ]
)
OPERATORS = st.sampled_from(["*", "+", "%", "~", "**", "==", "in", "-"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner | BIG, max_size=3).map(", ".join)
    return st.one_of(
        st.builds("({} {} {})".format, inner, OPERATORS, inner | BIG),
        st.builds("({} | {}({}))".format, inner, FILTERS, arguments),
        st.builds("({}).{}({})".format, inner, METHODS, arguments),
        st.builds("({} | map('{}', {}) | list)".format, MANY, FILTERS, inner | BIG),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{{}: {}}}".format, TEXT, inner),
        st.builds("({})[:]".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    )


EXPRESSIONS = st.recursive(TEXT | MANY | BIG, grown, max_leaves=8)
PIECES = st.one_of(
    EXPRESSIONS.map("{{{{ {} }}}}".format),
    st.builds("{{% for a in {} %}}{{{{ {} }}}}{{% endfor %}}".format, MANY, EXPRESSIONS),
    st.builds("{{% set a = {} %}}{{% for b in range(99) %}}{{{{ a }}}}{{% endfor %}}".format, EXPRESSIONS),
)


@given(PIECES)
@settings(max_examples=100)
def test_no_text_that_asks_for_much_breaks_the_check_or_grows_without_end(text: str) -> None:
    problem = JinjaRuleLanguage().template_problem(text)
    assert problem is None or problem
    text_shown = ""
    with suppress(*RENDER_ERRORS):
        text_shown = rendered(text)
    assert len(text_shown) <= 3 * MAX_TEXT_CHARACTERS
