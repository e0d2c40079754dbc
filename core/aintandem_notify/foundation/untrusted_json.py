"""Reads JSON that others wrote: frames, responses of REST and of receivers, bodies of requests.

A few megabytes of ``[[],[],…]`` become hundreds of megabytes of Python objects. A text too large for the free
memory makes a parser raise an error that ends the program, or end it at once. So values are counted before the
text is parsed, and every error of a parser becomes ``UnreadableJson``. The meaning of the values is decided
elsewhere (``domain.events.parsing``, ``orchestrator.protocol.responses``).
"""

import json
import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from pydantic_core import from_json

MAX_DEPTH: Final = 100
"""Nesting that a text may have; our number, well below the recursion limits of common JSON parsers."""

MAX_VALUES: Final = 1_000_000
"""Values of a text, about: a list of 100,000 tasks has so many. As objects they take some 100 MB, at worst 120."""

_PORTION: Final = 65_536
"""Characters that are scanned at a time when values are counted exactly."""

_FLAWLESS_TYPES: Final = frozenset({str, int, bool, type(None)})
"""The types of values that have no flaw, whatever their value."""

Content = str | bytes | bytearray


class JsonFlaw(StrEnum):
    """The reason why a text is refused."""

    MALFORMED = "malformed"
    TOO_DEEP = "nested too deep"
    TOO_MANY_VALUES = "too many values"
    NUMBER_OUT_OF_RANGE = "number out of range"
    NO_MEMORY = "no memory for it"


class UnreadableJson(ValueError):
    """The text is not JSON, or exceeds a limit. The message says why and holds nothing of the content."""

    def __init__(self, flaw: JsonFlaw) -> None:
        super().__init__(f"the JSON cannot be read: {flaw.value}")
        self.flaw = flaw


def read_json(
    content: Content, *, max_values: int = MAX_VALUES, strict: bool = True, replace_invalid: bool = True
) -> Any:
    """The JSON value of ``content``. Raises UnreadableJson, and nothing else, for any content.

    With ``replace_invalid``, lone surrogates and bytes that are not UTF-8 become U+FFFD, so that the value can be
    encoded; without it they are refused. A byte order mark before bytes is left out.

    With ``strict``, nesting deeper than ``MAX_DEPTH`` is refused, and so are lists and objects that hold NaN,
    Infinity or a number beyond the range of a float. Without it, such numbers come out as ``nan`` and ``inf``.
    """
    try:
        if has_more_values(content, max_values):
            raise UnreadableJson(JsonFlaw.TOO_MANY_VALUES)
        value = _read(content, strict=strict, replace_invalid=replace_invalid)
    except RecursionError:
        raise UnreadableJson(JsonFlaw.TOO_DEEP) from None
    except BaseException as error:
        if not is_out_of_memory(error):
            raise
        raise UnreadableJson(JsonFlaw.NO_MEMORY) from None
    return value


def is_out_of_memory(error: BaseException) -> bool:
    """True if memory ran out: MemoryError, or the panic of a library in Rust, which is not an ``Exception``.

    The panic's class cannot be imported, so it is recognized by its name.
    """
    kind = type(error)
    is_panic = (kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException")
    return isinstance(error, MemoryError) or is_panic


def has_more_values(content: Content, limit: int, portion_size: int = _PORTION) -> bool:
    """True if the JSON text has more than ``limit`` commas, lists and objects; those in strings do not count.

    Takes linear time and little memory: it copies ``portion_size`` characters at a time.
    """
    if len(content) <= limit or _count_marks(content) <= limit:
        return False
    count, position, is_in_string = 0, 0, False
    marks: tuple[Any, Any, Any] = ("\\", '"', "") if isinstance(content, str) else (b"\\", b'"', b"")
    escape, quote, nothing = marks
    while position < len(content) and count <= limit:
        portion: Any = content[position : position + portion_size]
        if (len(portion) - len(portion.rstrip(escape))) % 2:  # its last character escapes the next one
            portion = content[position : position + portion_size + 1]
        position += len(portion)
        pieces = portion.replace(escape * 2, nothing).replace(escape + quote, nothing).split(quote)
        count += _count_marks(nothing.join(pieces[is_in_string::2]))
        is_in_string ^= len(pieces) % 2 == 0
    return count > limit


def _count_marks(content: Content) -> int:
    """The number of commas and opening brackets, also of those in strings."""
    if isinstance(content, str):
        return content.count("[") + content.count("{") + content.count(",")
    return content.count(b"[") + content.count(b"{") + content.count(b",")


def _read(content: Content, *, strict: bool, replace_invalid: bool) -> Any:
    text = content.removeprefix(b"\xef\xbb\xbf") if isinstance(content, bytes | bytearray) else content
    try:
        value = from_json(text, allow_inf_nan=not strict)
    except (ValueError, TypeError):  # TypeError: the text itself holds a lone surrogate
        if not replace_invalid:
            raise UnreadableJson(JsonFlaw.MALFORMED) from None
        return _read_slowly(text, strict=strict)
    if strict and (flaw := find_flaw(value)) is not None:
        raise UnreadableJson(flaw)
    return value


def _read_slowly(content: Content, *, strict: bool) -> Any:
    """Reads a text that the fast parser refused: replaces lone surrogates, or raises with the exact flaw."""
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_refuse_constant if strict else None)
    except json.JSONDecodeError:
        raise UnreadableJson(JsonFlaw.MALFORMED) from None
    except ValueError:  # NaN, Infinity, or an integer with more digits than Python converts
        raise UnreadableJson(JsonFlaw.NUMBER_OUT_OF_RANGE) from None
    # The depth is checked first: the replacement recurses as deep as the text is nested.
    if strict and (flaw := find_flaw(value)) is not None:
        raise UnreadableJson(flaw)
    return replace_all_surrogates(value)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def replace_surrogates(text: str) -> str:
    """``text`` with lone surrogates replaced by U+FFFD, so that it can be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def replace_all_surrogates(value: Any) -> Any:
    """The JSON value with lone surrogates replaced in all its texts. It must not be deeper than ``MAX_DEPTH``."""
    match value:
        case str():
            return replace_surrogates(value)
        case list():
            return [replace_all_surrogates(item) for item in value]
        case dict():
            return {replace_surrogates(key): replace_all_surrogates(item) for key, item in value.items()}
        case _:
            return value


def is_flat(items: Iterable[Any]) -> bool:
    """True if none of the JSON values is a list, an object or a float, so that they have no flaw."""
    return _FLAWLESS_TYPES.issuperset(map(type, items))


def find_flaw(content: Any) -> JsonFlaw | None:
    """The first flaw of ``content`` that later JSON parsers may not accept, else None. Searches level by level."""
    level: list[Any] = [content] if isinstance(content, dict | list) else []
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            if is_flat(items):  # as usual; several times as fast as a look at each
                continue
            for item in items:
                kind = type(item)
                if kind is float:
                    if not math.isfinite(item):  # 1e999 is correct JSON
                        return JsonFlaw.NUMBER_OUT_OF_RANGE
                elif kind is dict or kind is list:
                    below.append(item)
        if not below:
            return None
        level = below
    return JsonFlaw.TOO_DEEP
