"""How long to wait before trying again, as pure functions of the attempt and a source of chance."""

from collections.abc import Callable, Sequence

Chance = Callable[[], float]
"""A number in [0, 1), as ``random.random`` gives."""


def full_jitter(attempt: int, *, initial: float, maximum: float, chance: Chance) -> float:
    """Seconds to wait before the given attempt (counted from 0), spread over the whole interval.

    The ceiling doubles from ``initial`` to ``maximum``. Spreading over [0, ceiling) instead of around it is
    what keeps many clients from coming back at once (AWS Architecture Blog, "Exponential Backoff And
    Jitter").
    """
    # 2**63 s is beyond any maximum; the cap keeps an endless outage from overflowing a float.
    ceiling: float = min(maximum, initial * 2 ** min(attempt, 63))
    return ceiling * chance()


def stepped_delay(attempt: int, *, pauses: Sequence[float], chance: Chance) -> float:
    """Seconds to wait after the given failure (counted from 0), from a list whose last entry repeats.

    Jittered upwards by at most a fifth, never below the listed pause.
    """
    return pauses[min(attempt, len(pauses) - 1)] * (1 + chance() / 5)
