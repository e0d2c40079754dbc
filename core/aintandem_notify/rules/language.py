"""Conditions and texts: Jinja2 in its sandbox, over the names event, run and project.

Templates are compiled once. What a name may be is known beforehand, so a misspelt one is an error of the
config; at run time a field that the event at hand does not have is none, and none prints as nothing.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aintandem_notify.config.findings import did_you_mean
from aintandem_notify.rules import formats
from aintandem_notify.rules.globs import glob_problem
from aintandem_notify.rules.scope import NAMES, Scope

LONGEST_TEXT: Final = 65_536
"""Characters that one rendered text may have; ours, twice what the most patient destination takes."""

RENDER_ERRORS: Final = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a template or expression can raise when it runs."""

Render = Callable[[Scope], str]
"""Gives the text; raises one of ``RENDER_ERRORS``."""
Condition = Callable[[Scope], bool]
"""Gives the verdict; raises one of ``RENDER_ERRORS``."""


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, where what is missing is none and arithmetic cannot eat the machine."""

    intercepted_binops = frozenset({"*", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        return _none_if_missing(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        return _none_if_missing(super().getitem(obj, argument))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        raise SecurityError(f"{attribute} of {type(obj).__name__} is not for templates")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) <= 1e6 and abs(right) <= 64):
            raise OverflowError("this power is too large for a template")
        for repeated, times in ((left, right), (right, left)):
            if isinstance(times, int) and hasattr(repeated, "__len__") and len(repeated) * times > LONGEST_TEXT:
                raise OverflowError("this repetition is too long for a template")
        return super().call_binop(context, operator, left, right)


def _none_if_missing(value: Any) -> Any:
    return None if isinstance(value, Undefined) else value


def _default(value: Any, default: Any = "", boolean: bool = False) -> Any:
    """Jinja2's ``default``, that takes none for missing, too."""
    return default if value is None or isinstance(value, Undefined) or (boolean and not value) else value


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, finalize=formats.text_of, autoescape=False)
    del environment.globals["lipsum"]
    environment.filters |= {
        "default": _default,
        "d": _default,
        "duration": lambda seconds: "" if seconds is None else formats.duration(float(seconds)),
        "size": lambda count: "" if count is None else formats.size(int(count)),
        "text": formats.text_of,
    }
    return environment


_ENVIRONMENT: Final = _environment()


def _parse_template(text: str) -> nodes.Template:
    return _without_none(_ENVIRONMENT.parse(text))


def _parse_expression(text: str) -> nodes.Template:
    """A template that assigns the expression to ``result``, as Jinja2's own ``compile_expression`` makes it."""
    parser = Parser(_ENVIRONMENT, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        rest = parser.stream.current
        raise TemplateSyntaxError(f"unexpected {rest.value!r} after the expression", rest.lineno)
    assignment = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
    template = nodes.Template([assignment], lineno=1)
    template.set_environment(_ENVIRONMENT)
    return _without_none(template)


def _without_none(template: nodes.Template) -> nodes.Template:
    """The same, where none prints as nothing between ``~``, too."""
    for concat in template.find_all(nodes.Concat):
        concat.nodes = [
            nodes.Filter(part, "text", [], [], None, None, lineno=part.lineno) for part in concat.nodes
        ]
    return template


class NothingThere(Exception):
    """An address asks for something that the event at hand does not have."""


def _required(value: Any) -> str:
    if value is None:
        raise NothingThere
    return formats.text_of(value)


_ADDRESSES: Final = _ENVIRONMENT.overlay(finalize=_required)


def compile_address(text: str) -> Render:
    """As ``compile_template``, for text with a hole in which is no use; rendering may raise ``NothingThere``."""
    return _rendering(_ADDRESSES.from_string(_without_none(_ADDRESSES.parse(text))))


@lru_cache(maxsize=512)
def compile_template(text: str) -> Render:
    """``text`` ready to be rendered; raises jinja2's TemplateSyntaxError."""
    return _rendering(_ENVIRONMENT.from_string(_parse_template(text)))


def _rendering(template: Template) -> Render:
    def render(scope: Scope) -> str:
        pieces: list[str] = []
        length = 0
        for piece in template.generate(scope):
            pieces.append(piece)
            length += len(piece)
            if length > 2 * LONGEST_TEXT:  # enough to be cut once secrets are out
                break
        return "".join(pieces)

    return render


@lru_cache(maxsize=512)
def compile_expression(text: str) -> Condition:
    """``text`` ready to be asked; raises jinja2's TemplateSyntaxError."""
    expression = TemplateExpression(_ENVIRONMENT.from_string(_parse_expression(text)), undefined_to_none=True)
    return lambda scope: bool(expression(scope))


class Language:
    """What the config asks about the texts of rules."""

    def event_glob_problem(self, glob: str) -> str | None:
        """What is wrong with an entry of ``events``; None if it is fine."""
        return glob_problem(glob)

    def expression_problem(self, text: str) -> str | None:
        """What is wrong with a ``when``; None if it is fine."""
        return _problem(text, _parse_expression, compile_expression, "no Jinja2 expression")

    def template_problem(self, text: str) -> str | None:
        """What is wrong with a ``title``, ``body`` or ``console_url``; None if it is fine."""
        return _problem(text, _parse_template, compile_template, "no Jinja2 template")


def _problem(
    text: str, parse: Callable[[str], nodes.Template], compiled: Callable[[str], object], what: str
) -> str | None:
    try:
        tree = parse(text)
        problems = list(_name_problems(tree))
        if not problems:
            compiled(text)
    except TemplateSyntaxError as error:
        place = f"line {error.lineno}: " if "\n" in text.strip() else ""
        hint = _slip(text) if parse is _parse_expression else ""
        return f"{what}: {place}{_syntax_message(error)}{hint}"
    except RecursionError:
        return f"{what}: nested too deep"
    except Exception as error:  # noqa: BLE001  # the border to Jinja2, which leaves some mistakes to Python
        return f"{what}: {_foreign_message(error)}"
    return "; ".join(dict.fromkeys(problems)) or None


_SLIPS: Final = (
    (r"\s*", "; leave the key out for a rule that always counts"),
    (r"\s*\{[{%].*", "; write the expression alone, without {{ }}"),
    (r".*&&.*", "; write and"),
    (r".*\|\|.*", "; write or"),
    (r".*[^=!<>]=[^=].*", "; write == to compare"),
    (r".*![^=].*", "; write not"),
    (r".*\d(?:ms|s|m|h|d)\b.*", "; durations are numbers here, in seconds"),
)
"""What people write who know other languages, and what to write here."""


def _slip(text: str) -> str:
    return next((hint for pattern, hint in _SLIPS if re.fullmatch(pattern, text, re.DOTALL)), "")


def _syntax_message(error: TemplateSyntaxError) -> str:
    """Jinja2's sentence, with the nearest filter or test where one is not known."""
    message = (error.message or "syntax error").rstrip(".")
    for kind, known in (("filter", _ENVIRONMENT.filters), ("test", _ENVIRONMENT.tests)):
        if (found := re.fullmatch(rf"No {kind} named '(.*)'", message)) is not None:
            return f"no {kind} called {found[1]}{did_you_mean(found[1], known)}"
    if (found := re.search(r"The innermost block that needs to be closed is ('.*')", message)) is not None:
        return f"the {found[1]} in it is not closed"
    return message[:1].lower() + message[1:].replace("'end of template'", "end").replace("end of template", "end")


def _foreign_message(error: Exception) -> str:
    """What Python found in what Jinja2 made of the text; only Python's own sentences about syntax are shown."""
    words = error.msg if isinstance(error, SyntaxError) else ""
    return words or f"Jinja2 cannot read it ({type(error).__name__})"


def _name_problems(tree: nodes.Template) -> Iterator[str]:
    if any(tree.find(kind) for kind in (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        yield "there are no other templates to include"
    known = {*NAMES, *_ENVIRONMENT.globals}
    for name in sorted(meta.find_undeclared_variables(tree) - known):
        yield f"there is no {name}{did_you_mean(name, known) or '; there are event, run and project'}"
    assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        owner, asked = _access(node)
        names = NAMES.get(owner, frozenset()) if owner not in assigned else frozenset()
        if names and asked is not None and asked not in names:
            yield f"{owner} has no {asked}{did_you_mean(asked, names)}"


def _access(node: nodes.Node) -> tuple[str, str | None]:
    """Of ``event.error`` or ``event["error"]``: the name before and after; None after if only rendering tells."""
    assert isinstance(node, nodes.Getattr | nodes.Getitem)  # noqa: S101  # what find_all was asked for
    owner = node.node.name if isinstance(node.node, nodes.Name) else ""
    if isinstance(node, nodes.Getattr):
        return owner, node.attr
    asked = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return owner, asked if isinstance(asked, str) else None
