"""The canonical text is that of Python's own encoder, whichever encoder wrote it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.canonical_json import canonical_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.floats(1e-6, 1e18)
    | st.text()
    | st.text("\x00\x1f\x7f\x80/\\\"'é\u2028"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def reference(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@given(st.dictionaries(st.text(max_size=3), values, max_size=3))
def test_any_object_has_the_text_of_the_reference(value: dict[str, Any]) -> None:
    assert canonical_json(value) == reference(value)


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        1e-4,
        9.999e-5,
        1e15,
        1e16,
        123456789012345680.0,
        5e-324,
        1.7e308,
        0.1 + 0.2,
        61.5,
        1.0,
        2**64,
        -(2**70),
    ],
)
def test_a_number_has_the_text_of_the_reference(value: float) -> None:
    for place in ({"a": value}, {"a": [value]}, {"a": {"b": [value]}}):
        assert canonical_json(place) == reference(place)
