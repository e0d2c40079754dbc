"""Puts the answers together where no agent runs, from the config file and its store."""

from datetime import datetime
from pathlib import Path

from aintandem_notify.control.explain.explainer import Explainer, StageState
from aintandem_notify.control.explain.made_up import MadeUpEvent, explain_made_up, stage_state
from aintandem_notify.control.explain.past import EventSearch, explain_stored, search_on
from aintandem_notify.control.explain.schemas import ExplanationResponse
from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins.config_loading import load
from aintandem_notify.store import Store


def explain_reference(store: Store, reference: str, config: Path) -> ExplanationResponse:
    """Returns the fate of the events that ``reference`` names, with the rules of the file ``config``.

    Raises RequestRefused if the store has no such event.
    """
    search = EventSearch(reference)
    while not search.is_complete:
        search = search_on(store, search)
    explainer, trouble = explainer_of(config)
    return ExplanationResponse(
        config=str(config.absolute()),
        reference=reference,
        events=tuple(explain_stored(store, stored, explainer) for stored in search.events),
        more=search.more,
        trouble=trouble,
    )


def explain_with_file(
    config: Path, made_up: MadeUpEvent, store: Store | None, now: datetime
) -> ExplanationResponse:
    """Returns the fate that the event would have by the rules of the file ``config``.

    Without a store there are no silences, and no stage has seen anything before. Raises ConfigError for a wrong
    file, and RequestRefused for an event that cannot be made.
    """
    state = StageState() if store is None else stage_state(store, now)
    explanation = explain_made_up(made_up, Explainer(load(config).config), (), state, now)
    return ExplanationResponse(config=str(config.absolute()), reference=None, events=(explanation,))


def explainer_of(config: Path) -> tuple[Explainer | None, str | None]:
    """The rules of the file, or the reason why they cannot be asked: here may be no secrets."""
    try:
        return Explainer(load(config).config), None
    except ConfigError as error:
        first = error.problems[0].describe(error.source) if error.problems else str(error)
        return None, f"the rules cannot be asked, as the config cannot be read here: {first}"
