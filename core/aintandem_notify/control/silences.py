"""Held notifications, and silences by hand, in the store; for the running agent and for commands without one."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

from aintandem_notify.control.errors import RequestRefused
from aintandem_notify.control.schemas import HeldResponse, SilenceListResponse, SilenceResponse
from aintandem_notify.stages.silences import MATCHER_NAMES, Silence
from aintandem_notify.store import Store, TransactionPurpose

MAX_SILENCE: Final = timedelta(days=366)
"""The longest silence; our limit. Longer ones belong into the config: ``notify = "nobody"``."""
MAX_TEXT_CHARACTERS: Final = 500
"""Characters of a matcher, an owner or a reason."""


def new_silence(
    matchers: Mapping[str, str], *, expires_at: datetime, owner: str, reason: str, now: datetime
) -> Silence:
    """Returns a silence that begins now. Raises RequestRefused with a sentence for wrong values."""
    if not matchers:
        raise RequestRefused(f"a silence needs one of {', '.join(MATCHER_NAMES)}; it holds what all of them match")
    if unknown := [name for name in matchers if name not in MATCHER_NAMES]:
        raise RequestRefused(f"unknown: {', '.join(unknown)}; a silence matches {', '.join(MATCHER_NAMES)}")
    check_texts(matchers, owner, reason)
    if expires_at <= now:
        raise RequestRefused("a silence should end in the future")
    if expires_at > now + MAX_SILENCE:
        raise RequestRefused(
            f'a silence lasts {MAX_SILENCE.days} days at the most; a rule with notify = "nobody" has no end'
        )
    return Silence(token_hex(4), dict(matchers), now, expires_at, owner, reason)


def check_texts(matchers: Mapping[str, str], owner: str, reason: str) -> None:
    """Raises RequestRefused for a text that cannot be stored. The client asks, too: JSON would replace it."""
    for name, text in (*matchers.items(), ("owner", owner), ("reason", reason)):
        if len(text) > MAX_TEXT_CHARACTERS:
            raise RequestRefused(f"{name} should have at most {MAX_TEXT_CHARACTERS} characters")
        if name in matchers and not text.strip():
            raise RequestRefused(f"{name} should be a name or a glob")
        # Neither database stores lone surrogates, as of an argument that is not UTF-8, and PostgreSQL no NUL.
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise RequestRefused(f"{name} should be one line of text, without control characters")


def held_of(store: Store) -> tuple[HeldResponse, ...]:
    """Returns the notifications that the stages of the rules hold. Call it inside a transaction."""
    return tuple(
        HeldResponse(destination=destination, stage=stage.label, count=count, until=until)
        for destination, stage, count, until in store.held.overview()
    )


def add(store: Store, silence: Silence) -> SilenceResponse:
    """Stores the silence."""
    with store.transaction(fenced=False):
        store.silences.add(silence)
        return response_of(silence, 0)


def list_active(store: Store, now: datetime) -> SilenceListResponse:
    """Returns the silences that have not expired, the next to expire first."""
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        held = store.held.silenced()
        return SilenceListResponse(
            silences=tuple(response_of(silence, held.get(silence.id, 0)) for silence in store.silences.active(now))
        )


def end(store: Store, silence_ids: Sequence[str], now: datetime) -> SilenceListResponse:
    """Ends these silences now, and returns them; the agent sends the held notifications.

    Raises RequestRefused, and has changed nothing, if one of them is not active.
    """
    with store.transaction(fenced=False):
        active = {silence.id: silence for silence in store.silences.active(now)}
        if unknown := [silence_id for silence_id in silence_ids if silence_id not in active]:
            known = ", ".join(active) or "none"
            raise RequestRefused(f"no silence {', '.join(unknown)} is active; active are: {known}", status=404)
        held = store.held.silenced()
        store.silences.end(silence_ids, now)
        store.held.end_silences(silence_ids, now)
        return SilenceListResponse(
            silences=tuple(
                response_of(active[silence_id], held.get(silence_id, 0))
                for silence_id in dict.fromkeys(silence_ids)
            )
        )


def response_of(silence: Silence, held: int) -> SilenceResponse:
    """Returns the silence, which holds so many notifications, as a response."""
    return SilenceResponse(
        id=silence.id,
        matchers=dict(silence.matchers),
        begins_at=silence.begins_at,
        expires_at=silence.expires_at,
        owner=silence.owner,
        reason=silence.reason,
        held=held,
    )
