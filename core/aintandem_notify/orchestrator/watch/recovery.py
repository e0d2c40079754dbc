"""Decides the reaction to a failed try or a lost link: another token, a report, a pause, or the end.

No clock, socket or log: ``project`` carries the decisions out.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from aintandem_notify.errors import HttpFailed, LinkRefused, OrchestratorError
from aintandem_notify.foundation.backoff import Chance
from aintandem_notify.orchestrator.link.reconnect_policy import (
    ConnectionTrouble,
    ReconnectSettings,
    classify_error,
    pause_before_retry,
    should_give_up,
    should_renew_token,
    should_retry_at_once,
)


@dataclass(frozen=True, slots=True)
class Loss:
    """The first decision. ``is_final``: no try is left. ``needs_token``: another token is to be fetched first."""

    is_final: bool
    needs_token: bool


@dataclass(frozen=True, slots=True)
class NextStep:
    """The second decision. ``pause_s``: seconds until the next try; None if there is none.

    ``reports``: the trouble becomes an event. ``is_repeated``: it is known already, so the log gives no warning.
    """

    pause_s: float | None
    reports: bool = False
    is_repeated: bool = False

    @property
    def is_final(self) -> bool:
        """True if there is no next try."""
        return self.pause_s is None


class Recovery:
    """The failures of one project since its last stable connection, and the decisions that follow from them.

    ``fatal``: trouble that ends the watching. ``reports_every_try``: trouble of a kind that is reported already is
    reported again, unless the link was open before.
    """

    def __init__(
        self,
        backoff: ReconnectSettings,
        fatal: Collection[ConnectionTrouble],
        chance: Chance,
        *,
        reports_every_try: bool = False,
    ) -> None:
        self._backoff: Final = backoff
        self._fatal: Final = fatal
        self._chance: Final = chance
        self._reports_every_try: Final = reports_every_try
        self.failures: int = 0
        """Failed tries and lost links."""
        self._refusals = 0
        self._pauses: Counter[ConnectionTrouble] = Counter()
        self._reported: set[ConnectionTrouble] = set()

    def forget(self) -> None:
        """Begin anew, after a stable connection."""
        self.failures = self._refusals = 0
        self._pauses.clear()
        self._reported.clear()

    def note_failure(self, error: OrchestratorError | HttpFailed, *, is_renewable: bool) -> Loss:
        """Count a failure; ``is_renewable``: the token that was used can be replaced by another one."""
        self.failures += 1
        is_refused = isinstance(error, LinkRefused)
        # If the link refused the token, another token is tried first.
        is_fatal = classify_error(error) in self._fatal and not is_refused
        if is_fatal or should_give_up(self.failures, self._backoff):
            return Loss(is_final=True, needs_token=False)
        if not isinstance(error, LinkRefused):
            return Loss(is_final=False, needs_token=False)
        self._refusals += 1
        return Loss(
            is_final=False,
            needs_token=should_renew_token(error.code, self._refusals, is_renewable=is_renewable),
        )

    def next_step(
        self, loss: Loss, error: OrchestratorError | HttpFailed, *, was_open: bool, has_new_token: bool
    ) -> NextStep:
        """The step after ``loss``. ``error``: the trouble that remains after a try to get another token.

        ``was_open``: an open link was lost, which is reported by itself.
        """
        if has_new_token and should_retry_at_once(self._refusals):
            return NextStep(pause_s=0.0)
        trouble = classify_error(error)
        is_final = loss.is_final or trouble in self._fatal
        # A failure to open the link again is reported beside its loss.
        is_repeated = trouble in self._reported or (was_open and trouble is ConnectionTrouble.LOST)
        reports = is_final or not is_repeated or (self._reports_every_try and not was_open)
        if reports:
            self._reported.add(trouble)
        if is_final:
            return NextStep(None, reports, is_repeated)
        self._pauses[trouble] += 1
        pause_s = pause_before_retry(trouble, self._pauses[trouble], self._backoff, self._chance)
        return NextStep(pause_s, reports, is_repeated)
