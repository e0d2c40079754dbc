"""The message for the operator when the limit on file sizes is too low for the store."""

import pytest

from aintandem_notify.store.engine.file_size_limit import GROWTH_BYTES, size_limit_problem


@pytest.mark.parametrize(
    ("limit", "size", "is_enough"),
    [
        (None, 2**40, True),
        (GROWTH_BYTES, 0, True),
        (GROWTH_BYTES - 1, 0, False),
        (GROWTH_BYTES, 1, False),
        (0, 0, False),
    ],
)
def test_a_store_must_be_able_to_grow(limit: int | None, size: int, is_enough: bool) -> None:
    message = size_limit_problem(limit, size)
    assert (message is None) == is_enough
    if message is not None:
        assert f"no more than {limit:,} bytes, and {size + GROWTH_BYTES:,} are needed" in message
        assert "ulimit -f" in message
