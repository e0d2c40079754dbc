"""How large a file may become, and what is said where that is too little."""

import pytest

from aintandem_notify.store.engine.file_size_limit import GROWTH, too_low


@pytest.mark.parametrize(
    ("limit", "size", "is_enough"),
    [(None, 2**40, True), (GROWTH, 0, True), (GROWTH - 1, 0, False), (GROWTH, 1, False), (0, 0, False)],
)
def test_a_store_must_be_able_to_grow(limit: int | None, size: int, is_enough: bool) -> None:
    sentence = too_low(limit, size)
    assert (sentence is None) == is_enough
    if sentence is not None:
        assert f"no more than {limit:,} bytes, and {size + GROWTH:,} are needed" in sentence
        assert "ulimit -f" in sentence
