"""Lines that wait for a blocked stream: in order, bounded, and lost ones are counted."""

from hypothesis import given
from hypothesis import strategies as st

from aintandem_notify.foundation.stdio.line_buffer import LineBuffer, count_lines


def test_lines_that_fit_are_taken_in_order() -> None:
    buffer = LineBuffer(limit=4)
    buffer.put(b"a\n")
    buffer.put(b"b\n")

    assert buffer.take() == ([b"a\n", b"b\n"], 0)
    assert buffer.take() == ([], 0)


def test_lines_that_do_not_fit_are_counted_with_all_later_ones_until_the_next_take() -> None:
    buffer = LineBuffer(limit=4)
    buffer.put(b"abc\n")
    buffer.put(b"d\ne\n")
    buffer.put(b"")

    assert buffer.take() == ([b"abc\n"], 3)
    buffer.put(b"f\n")
    assert buffer.take() == ([b"f\n"], 0)


def test_a_line_that_is_longer_than_all_of_it_waits_alone() -> None:
    buffer = LineBuffer(limit=4)
    buffer.put(b"longer\n")
    buffer.put(b"a\n")

    assert buffer.take() == ([b"longer\n"], 1)


@given(st.lists(st.one_of(st.binary(max_size=20), st.none())))
def test_no_line_gets_lost_without_being_counted(steps: list[bytes | None]) -> None:
    """None stands for ``take``."""
    buffer = LineBuffer(limit=30)
    put = accounted_for = 0
    for step in [*steps, None]:
        if step is not None:
            put += count_lines(step)
            buffer.put(step)
            continue
        texts, dropped = buffer.take()
        accounted_for += sum(map(count_lines, texts)) + dropped
        assert sum(map(len, texts)) <= 30
        assert not buffer
    assert accounted_for == put
