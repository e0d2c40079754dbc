"""The door for JSON that somebody else wrote: frames, answers of REST and of receivers, bodies of requests.

A few megabytes of ``[[],[],…]`` become hundreds of them as Python objects, and a text too large for the memory
that is left makes a reader raise what ends a program, or end it at once. So values are counted before anything is
read, and whatever reading runs into comes out as ``UnreadableJson``. What the values mean is for others to say.
"""

import json
import math
from enum import StrEnum
from typing import Any, Final

from pydantic_core import from_json

MAX_DEPTH: Final = 100
"""Nesting that a text may have; ours, well under the recursion limits of every JSON reader behind us."""

MAX_VALUES: Final = 1_000_000
"""Values of a text, about: a list of 100,000 tasks has so many. Read, they take 100 MB or so, at worst 120 MB."""

_PORTION: Final = 65_536
"""Characters that are looked through at once when values are counted exactly."""

Content = str | bytes | bytearray


class JsonFlaw(StrEnum):
    """Why a text is not read."""

    MALFORMED = "malformed"
    TOO_DEEP = "nested too deep"
    TOO_MANY_VALUES = "too many values"
    NUMBER_OUT_OF_RANGE = "number out of range"
    NO_MEMORY = "no memory for it"


class UnreadableJson(ValueError):
    """The text is no JSON, or none that is read; its text says why and holds nothing of the content."""

    def __init__(self, flaw: JsonFlaw) -> None:
        super().__init__(f"the JSON cannot be read: {flaw.value}")
        self.flaw = flaw


def read_json(
    content: Content, *, max_values: int = MAX_VALUES, strict: bool = True, replace_invalid: bool = True
) -> Any:
    """The JSON value of ``content``. Raises UnreadableJson, and nothing else, whatever the content is.

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
    """Whether memory ran out: MemoryError, or the panic of a library in Rust, which is no ``Exception``.

    Nobody but such a library can name the panic's class, so it is known by its name.
    """
    kind = type(error)
    is_panic = (kind.__module__, kind.__name__) == ("pyo3_runtime", "PanicException")
    return isinstance(error, MemoryError) or is_panic


def has_more_values(content: Content, limit: int) -> bool:
    """Whether the JSON text has more than ``limit`` commas, lists and objects, those in its strings not counted.

    Takes time in proportion to its length, and little memory.
    """
    if len(content) <= limit or _marks(content) <= limit:
        return False
    count, position, in_string = 0, 0, False
    marks: tuple[Any, Any, Any] = ("\\", '"', "") if isinstance(content, str) else (b"\\", b'"', b"")
    escape, quote, nothing = marks
    while position < len(content) and count <= limit:
        portion: Any = content[position : position + _PORTION]
        if (len(portion) - len(portion.rstrip(escape))) % 2:  # it ends before what its last character escapes
            portion = content[position : position + _PORTION + 1]
        position += len(portion)
        pieces = portion.replace(escape * 2, nothing).replace(escape + quote, nothing).split(quote)
        count += _marks(nothing.join(pieces[in_string::2]))
        in_string ^= len(pieces) % 2 == 0
    return count > limit


def _marks(content: Content) -> int:
    if isinstance(content, str):
        return content.count("[") + content.count("{") + content.count(",")
    return content.count(b"[") + content.count(b"{") + content.count(b",")


def _read(content: Content, *, strict: bool, replace_invalid: bool) -> Any:
    text = content.removeprefix(b"\xef\xbb\xbf") if isinstance(content, bytes | bytearray) else content
    try:
        value = from_json(text, allow_inf_nan=not strict)
    except (ValueError, TypeError):  # TypeError: the text itself holds half a character
        if not replace_invalid:
            raise UnreadableJson(JsonFlaw.MALFORMED) from None
        return _read_slowly(text, strict=strict)
    if strict and (flaw := find_flaw(value)) is not None:
        raise UnreadableJson(flaw)
    return value


def _read_slowly(content: Content, *, strict: bool) -> Any:
    """What the fast reader refused: mends lone surrogates, names the flaw of anything else."""
    text = content if isinstance(content, str) else content.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_refuse_constant if strict else None)
    except json.JSONDecodeError:
        raise UnreadableJson(JsonFlaw.MALFORMED) from None
    except ValueError:  # NaN, Infinity, or an integer with more digits than Python converts
        raise UnreadableJson(JsonFlaw.NUMBER_OUT_OF_RANGE) from None
    # The depth comes first: mending goes as deep as the text does.
    if strict and (flaw := find_flaw(value)) is not None:
        raise UnreadableJson(flaw)
    return replace_all_surrogates(value)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def replace_surrogates(text: str) -> str:
    """``text`` with halves of characters that stand alone replaced by U+FFFD, so that it can be encoded."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def replace_all_surrogates(value: Any) -> Any:
    """The JSON value with all its texts mended; it must not be deeper than ``MAX_DEPTH``."""
    match value:
        case str():
            return replace_surrogates(value)
        case list():
            return [replace_all_surrogates(item) for item in value]
        case dict():
            return {replace_surrogates(key): replace_all_surrogates(item) for key, item in value.items()}
        case _:
            return value


def find_flaw(content: Any) -> JsonFlaw | None:
    """Looks through ``content`` level by level for what no JSON reader behind us should have to take."""
    level: list[Any] = [content] if isinstance(content, dict | list) else []
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            for item in container.values() if isinstance(container, dict) else container:
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
