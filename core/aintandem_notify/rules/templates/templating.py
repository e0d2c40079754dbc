"""Compiles and checks conditions and texts: Jinja2 in a sandbox, over the names event, run and project.

Templates are compiled once. All names are known beforehand, so a misspelt one is an error of the config. At run
time a field that the event does not have is None, and None is printed as nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from types import TracebackType
from typing import Any, Final

from jinja2 import Template, TemplateSyntaxError, meta, nodes
from jinja2.parser import Parser

from aintandem_notify.config.findings import did_you_mean
from aintandem_notify.domain.notification import Project
from aintandem_notify.domain.samples import sample_event, sample_run
from aintandem_notify.rules import formats
from aintandem_notify.rules.globs import glob_problem
from aintandem_notify.rules.scope import NAMES, Scope, scope
from aintandem_notify.rules.templates.cost_budget import BudgetExceeded, render_budget
from aintandem_notify.rules.templates.template_sandbox import (
    STATIC_COST,
    Sandbox,
    add_charges,
    make_sandbox,
    static_cost,
)

MAX_TEXT_CHARACTERS: Final = 65_536
"""Characters of one rendered text; our limit, twice that of the most generous destination."""

MAX_MENTION_CHARACTERS: Final = 200
"""Characters of one rendered mention; our limit, more than any name has."""

EVERYBODY: Final = frozenset({"here", "channel", "everyone"})
"""The words that mention more than one person or group."""

RENDER_ERRORS: Final = (Exception,)
"""The errors of a running template or expression: it calls code that is not ours and may raise anything."""

Render = Callable[[Scope], str]
"""Returns the text; raises one of ``RENDER_ERRORS``."""
Condition = Callable[[Scope], bool]
"""Returns True if the condition holds; raises one of ``RENDER_ERRORS``."""

_ENVIRONMENT: Final = make_sandbox(formats.as_text)


def _parse_template(text: str) -> nodes.Template:
    return add_charges(_ENVIRONMENT.parse(text))


def _parse_expression(text: str) -> nodes.Template:
    return add_charges(_expression_tree(text))


def _expression_tree(text: str) -> nodes.Template:
    """A template that assigns the expression to ``result``, as in Jinja2's own ``compile_expression``."""
    parser = Parser(_ENVIRONMENT, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        token = parser.stream.current
        raise TemplateSyntaxError(f"unexpected {token.value!r} after the expression", token.lineno)
    assignment = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
    template = nodes.Template([assignment], lineno=1)
    template.set_environment(_ENVIRONMENT)
    return template


class MissingValue(Exception):
    """A web address uses a value that the event does not have."""


def _required_text(value: Any) -> str:
    if value is None:
        raise MissingValue
    return formats.as_text(value)


_ADDRESS_ENVIRONMENT: Final = make_sandbox(_required_text)


def compile_address(text: str) -> Render:
    """As ``compile_template``, for a web address: rendering raises ``MissingValue`` where a value is None."""
    return _renderer(_compile(_ADDRESS_ENVIRONMENT, add_charges(_ADDRESS_ENVIRONMENT.parse(text))))


@lru_cache(maxsize=512)
def compile_template(text: str) -> Render:
    """Compile a template; raises jinja2's TemplateSyntaxError."""
    return _renderer(_compile(_ENVIRONMENT, _parse_template(text)))


def compile_mention(text: str) -> Render:
    """As ``compile_template``, for a person to mention: one line, empty if it mentions nobody.

    No text of an event mentions everybody: the result has a word of ``EVERYBODY`` only if ``text`` itself has it.
    """
    if is_constant(text):
        return lambda _scope: text
    render = compile_template(text)
    tree = _ENVIRONMENT.parse(text)
    own_texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    own_texts += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    not_allowed = EVERYBODY - {word for own in own_texts for word in _words(own)}

    def mention(scope: Scope) -> str:
        name = formats.one_line(render(scope), MAX_MENTION_CHARACTERS)
        return "" if not_allowed & _words(name) else name

    return mention


def is_constant(text: str) -> bool:
    """True if the template has the same result for every event: it is plain text."""
    return "{" not in text


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


@lru_cache(maxsize=512)
def compile_expression(text: str) -> Condition:
    """Compile a condition; raises jinja2's TemplateSyntaxError."""
    template = _compile(_ENVIRONMENT, _parse_expression(text))

    def evaluate(scope: Scope) -> bool:
        with render_budget(), _with_template_line(template):
            context = template.new_context(dict(scope))
            for _ in template.root_render_func(context):
                pass
            return bool(context.vars["result"])

    return evaluate


def _compile(environment: Sandbox, tree: nodes.Template) -> Template:
    return environment.from_string(tree, globals={STATIC_COST: static_cost(tree)})


def _renderer(template: Template) -> Render:
    def render(scope: Scope) -> str:
        pieces: list[str] = []
        length = 0
        with render_budget(), _with_template_line(template):
            for piece in template.root_render_func(template.new_context(dict(scope))):
                pieces.append(piece)
                length += len(piece)
                if length > 2 * MAX_TEXT_CHARACTERS:  # enough to be cut after redaction
                    break
        return "".join(pieces)

    return render


@contextmanager
def _with_template_line(template: Template) -> Iterator[None]:
    """Sets the template's line on a ``BudgetExceeded`` that is raised inside the block."""
    try:
        yield
    except BudgetExceeded as error:
        error.line = _template_line(template, error.__traceback__)
        raise


def _template_line(template: Template, trace: TracebackType | None) -> int | None:
    line = None
    while trace is not None:
        if trace.tb_frame.f_globals.get("blocks") is template.blocks:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


class JinjaRuleLanguage:
    """Checks the texts of rules; implements the ``RuleLanguage`` of ``config``."""

    def event_glob_problem(self, glob: str) -> str | None:
        """The problem with an entry of ``events``; None if it is fine."""
        return glob_problem(glob)

    def expression_problem(self, text: str) -> str | None:
        """The problem with a ``when``; None if it is fine."""
        return _problem(text, _parse_expression, compile_expression, "no Jinja2 expression")

    def template_problem(self, text: str) -> str | None:
        """The problem with a ``title``, ``body``, ``mention`` or ``console_url``; None if it is fine."""
        return _problem(text, _parse_template, compile_template, "no Jinja2 template")


def _problem(
    text: str,
    parse: Callable[[str], nodes.Template],
    compile_text: Callable[[str], Callable[[Scope], object]],
    label: str,
) -> str | None:
    try:
        tree = parse(text)
        problems = list(_name_problems(tree))
        if not problems:
            problems += _cost_problems(text, compile_text(text))
    except TemplateSyntaxError as error:
        hint = _syntax_hint(text) if parse is _parse_expression else ""
        return f"{label}: {_line_prefix(text, error.lineno)}{_syntax_message(error)}{hint}"
    except (RecursionError, MemoryError):
        return f"{label}: nested too deep"
    except Exception as error:  # noqa: BLE001  # Jinja2 leaves some mistakes to Python's compiler
        return f"{label}: {_python_message(error)}"
    return "; ".join(dict.fromkeys(problems)) or None


def _line_prefix(text: str, line: int | None) -> str:
    return f"line {line}: " if line is not None and "\n" in text.strip() else ""


def _cost_problems(text: str, run: Callable[[Scope], object]) -> Iterator[str]:
    """Runs the text with a sample event: a text that is too expensive for it is too expensive for any."""
    try:
        run(_sample_scope())
    except (BudgetExceeded, MemoryError, OverflowError, RecursionError) as error:
        yield f"{_line_prefix(text, getattr(error, 'line', None))}it takes too long or makes too long a text"
    except RENDER_ERRORS:
        pass  # another event may have the missing value


@cache
def _sample_scope() -> Scope:
    event = sample_event("task_failed")
    return scope(event, sample_run(event), Project(id="project-123", name="project-123"))


_SYNTAX_HINTS: Final = (
    (r"\s*", "; leave the key out for a rule that always applies"),
    (r"\s*\{[{%].*", "; write the expression alone, without {{ }}"),
    (r".*&&.*", "; write and"),
    (r".*\|\|.*", "; write or"),
    (r".*[^=!<>]=[^=].*", "; write == to compare"),
    (r".*![^=].*", "; write not"),
    (r".*\d(?:ms|s|m|h|d)\b.*", "; durations are numbers here, in seconds"),
)
"""Common mistakes from other languages, as patterns, and a hint for each."""


def _syntax_hint(text: str) -> str:
    return next((hint for pattern, hint in _SYNTAX_HINTS if re.fullmatch(pattern, text, re.DOTALL)), "")


def _syntax_message(error: TemplateSyntaxError) -> str:
    """Jinja2's own message, with the nearest name for an unknown filter or test."""
    message = (error.message or "syntax error").rstrip(".")
    for kind, known in (("filter", _ENVIRONMENT.filters), ("test", _ENVIRONMENT.tests)):
        if (match := re.fullmatch(rf"No {kind} named '(.*)'", message)) is not None:
            return f"no {kind} called {match[1]}{did_you_mean(match[1], known)}"
    if (match := re.search(r"The innermost block that needs to be closed is ('.*')", message)) is not None:
        return f"the {match[1]} in it is not closed"
    return message[:1].lower() + message[1:].replace("'end of template'", "end").replace("end of template", "end")


def _python_message(error: Exception) -> str:
    """The message of Python's compiler about Jinja2's generated code; of other errors only the type is shown."""
    message = error.msg if isinstance(error, SyntaxError) else ""
    return message or f"Jinja2 cannot read it ({type(error).__name__})"


def _name_problems(tree: nodes.Template) -> Iterator[str]:
    if any(tree.find(kind) for kind in (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        yield "there are no other templates to include"
    known = {*NAMES, *_ENVIRONMENT.globals}
    for name in sorted(meta.find_undeclared_variables(tree) - known):
        yield f"there is no {name}{did_you_mean(name, known) or '; there are event, run and project'}"
    assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        owner, attribute = _attribute_access(node)
        names = NAMES.get(owner, frozenset()) if owner not in assigned else frozenset()
        if names and attribute is not None and attribute not in names:
            yield f"{owner} has no {attribute}{did_you_mean(attribute, names)}"


def names_in_condition(text: str) -> tuple[tuple[str, str], ...]:
    """The values that the valid condition reads, as ``("run", "duration")``."""
    accesses = map(_attribute_access, _expression_tree(text).find_all((nodes.Getattr, nodes.Getitem)))
    known = (
        (owner, name) for owner, name in accesses if name is not None and name in NAMES.get(owner, frozenset())
    )
    return tuple(dict.fromkeys(known))


def condition_misreads_duration(text: str) -> bool:
    """True if the valid condition compares ``event.duration`` with a number or formats it as seconds."""
    return _misreads_duration(_expression_tree(text))


def template_misreads_duration(text: str) -> bool:
    """As ``condition_misreads_duration``, for a valid template."""
    return _misreads_duration(_ENVIRONMENT.parse(text))


def _misreads_duration(tree: nodes.Template) -> bool:
    compared = (node for node in tree.find_all(nodes.Compare) if _has_number(node) and _has_event_duration(node))
    formatted = (
        node
        for node in tree.find_all(nodes.Filter)
        if node.name == "duration" and node.node is not None and _has_event_duration(node.node)
    )
    return any(compared) or any(formatted)


def _has_number(comparison: nodes.Compare) -> bool:
    numbers = (node.value for node in comparison.find_all(nodes.Const))
    return any(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)


def _has_event_duration(node: nodes.Node) -> bool:
    accesses = [node] if isinstance(node, nodes.Getattr | nodes.Getitem) else []
    accesses += node.find_all((nodes.Getattr, nodes.Getitem))
    return any(map(_is_event_duration, accesses))


def _is_event_duration(access: nodes.Getattr | nodes.Getitem) -> bool:
    """True for ``event.duration`` and ``event.wire.duration``, which is the same number."""
    owner, attribute = _attribute_access(access)
    inner = access.node
    of_wire = isinstance(inner, nodes.Getattr | nodes.Getitem) and _attribute_access(inner) == ("event", "wire")
    return attribute == "duration" and (owner == "event" or of_wire)


def _attribute_access(node: nodes.Node) -> tuple[str, str | None]:
    """The owner and attribute of ``event.error`` or ``event["error"]``; None for a computed attribute."""
    assert isinstance(node, nodes.Getattr | nodes.Getitem)  # noqa: S101  # the only types that find_all gives
    owner = node.node.name if isinstance(node.node, nodes.Name) else ""
    if isinstance(node, nodes.Getattr):
        return owner, node.attr
    attribute = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return owner, attribute if isinstance(attribute, str) else None
