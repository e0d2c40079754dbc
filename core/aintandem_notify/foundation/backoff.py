"""Delays before retries, as pure functions of the number of failures and a source of chance."""

from collections.abc import Callable, Sequence

Chance = Callable[[], float]
"""Returns a random number in [0, 1), as ``random.random`` does. Tests pass a function that returns a known one."""


def full_jitter(retry: int, *, initial: float, maximum: float, chance: Chance) -> float:
    """Seconds to wait before the given retry (counted from 0), spread over the whole interval.

    The ceiling doubles from ``initial`` to ``maximum``. The delay is drawn from [0, ceiling), so that many clients
    do not come back at once (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    # 2**63 s is beyond any maximum; the cap keeps an endless outage from overflowing a float.
    ceiling: float = min(maximum, initial * 2 ** min(retry, 63))
    return ceiling * chance()


def stepped_delay(failure: int, *, pauses: Sequence[float], chance: Chance) -> float:
    """Seconds to wait after the given failure (counted from 0), from a list; its last entry repeats.

    Jitter adds at most a fifth. The delay is never below the listed pause.
    """
    return pauses[min(failure, len(pauses) - 1)] * (1 + chance() / 5)
