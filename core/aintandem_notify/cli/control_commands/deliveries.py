"""``aintandem-notify deliveries``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aintandem_notify.cli.control_options import (
    config_and_name,
    config_and_names,
    filter_from_options,
    filter_options,
    json_option,
    names_argument,
    now,
    require_confirmation,
    show_facts,
    show_json,
    show_table,
)
from aintandem_notify.cli.echo import echo, echo_lines
from aintandem_notify.cli.options import EXIT_FAILED, Decorator, config_argument

if TYPE_CHECKING:
    from datetime import datetime

    from aintandem_notify.control.deliveries import AdminAction
    from aintandem_notify.control.schemas import BulkResponse, DeliveryDetailResponse, DeliveryResponse

STATES = ("queued", "delivered", "dead", "folded")
RETRIED = ("dead", "folded")
DROPPED = ("queued",)

arguments: Decorator = names_argument("[CONFIG] ID")
many_ids_arguments: Decorator = names_argument("[CONFIG] [ID]...")
yes_option: Decorator = click.option("--yes", is_flag=True, help="Do not ask first.")
all_option: Decorator = click.option(
    "--all", "everything", is_flag=True, help="All, of any destination, run, state and time."
)


@click.group(
    short_help="Look at deliveries, retry or drop them.",
    epilog="Example:  aintandem-notify deliveries list config.toml --state dead",
)
def deliveries() -> None:
    """Look at sent and queued deliveries, and retry or drop them by hand.

    Asks the running agent; if none runs, opens its store.
    """


@deliveries.command("list", epilog="Example:  aintandem-notify deliveries list --state dead --since 2h")
@config_argument
@filter_options(STATES)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200), help="Deliveries on a page.")
@click.option("--before", type=click.IntRange(0), help="Only those with a lower number: the next page.")
@json_option
def list_deliveries(
    config: Path, states: tuple[str, ...], limit: int, before: int | None, as_json: bool, **where: Any
) -> None:
    """List deliveries, the newest first."""
    from aintandem_notify.control.client.backend import open_backend

    delivery_filter = filter_from_options(**where, states=states)
    with open_backend(config) as backend:
        page = backend.page(delivery_filter, limit=limit, before=before)
    if as_json:
        show_json(page)
        return
    if not page.deliveries:
        echo("no such deliveries", err=True)
    show_table(None, ("id", "state", "queued", "to", "what"), list(map(_row, page.deliveries)))
    if page.next is not None:
        echo(f"there are more: add --before {page.next}", err=True)


@deliveries.command(
    short_help="Show all about a delivery.", epilog="Example:  aintandem-notify deliveries show config.toml 42"
)
@arguments
@json_option
def show(arguments: tuple[str, ...], as_json: bool) -> None:
    """Show all about a delivery: its notification, the reason why it waits, its tries and its receipt.

    An ID is the number that list shows, or the beginning of the notification's id (ntf_019c8a2f3be0).
    """
    from aintandem_notify.control.client.backend import open_backend

    config, reference = config_and_name(arguments, "ID")
    with open_backend(config) as backend:
        detail = backend.show(reference)
    if as_json:
        show_json(detail)
    else:
        _show(detail)


@deliveries.command(epilog="Example:  aintandem-notify deliveries retry config.toml 42 43")
@many_ids_arguments
@filter_options(RETRIED)
@all_option
@yes_option
@json_option
def retry(**options: Any) -> None:
    """Queue dead or folded deliveries again, as if they were new.

    Give their IDs, or select them with --destination, --project,
    --task, --state, --since and --until. An ID is the number that list
    shows, or the beginning of the notification's id. Exits with 1 if one of the IDs was left alone.
    """
    from aintandem_notify.control.deliveries import AdminAction

    _apply(AdminAction.RETRY, "queued again", **options)


@deliveries.command(epilog="Example:  aintandem-notify deliveries drop --destination slack.team")
@many_ids_arguments
@filter_options(DROPPED)
@all_option
@yes_option
@json_option
def drop(**options: Any) -> None:
    """Give up queued deliveries. They are dead then, and can be retried.

    Give their IDs, or select them with --destination, --project,
    --task, --state, --since and --until. An ID is the number that list
    shows, or the beginning of the notification's id. Exits with 1 if one of the IDs was left alone.
    """
    from aintandem_notify.control.deliveries import AdminAction

    _apply(AdminAction.DROP, "dropped", **options)


def _apply(
    action: AdminAction,
    done: str,
    *,
    arguments: tuple[str, ...],
    everything: bool,
    yes: bool,
    as_json: bool,
    states: tuple[str, ...],
    **where: str | None,
) -> None:
    from aintandem_notify.control.client.backend import open_backend
    from aintandem_notify.control.deliveries import ELIGIBLE_STATES

    config, ids = config_and_names(arguments, "")
    if bool(ids) == bool(everything or states or any(where.values())):
        raise click.UsageError(
            "Name IDs, or else --destination, --project, --task, --state, --since, --until or --all."
        )
    states_to_change = sorted(states or ELIGIBLE_STATES[action])
    delivery_filter = filter_from_options(**where, states=states_to_change)
    if not ids and not yes:
        named = " ".join(f"--{name} {value}" for name, value in where.items() if value)
        require_confirmation(
            f"{action.capitalize()} all {' and '.join(states_to_change)} deliveries {named}".strip() + "?"
        )
    with open_backend(config) as backend:
        response = backend.apply(action, ids) if ids else backend.apply_to_all(action, delivery_filter)
    if as_json:
        show_json(response)
    else:
        _print_result(response, done)
    if ids and response.refused:
        sys.exit(EXIT_FAILED)


def _print_result(response: BulkResponse, done: str) -> None:
    number = "1 delivery" if response.count == 1 else f"{response.count} deliveries"
    named = f": {', '.join(map(str, response.ids))}" if 0 < response.count <= 20 else ""
    echo(f"{number} {done}{named}")
    for refused in response.refused:
        echo(f"{refused.id} was left alone: {refused.reason}", err=True)


def _row(delivery: DeliveryResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    text = delivery.title or "(its notification is no longer stored)"
    if delivery.reason:
        text += f" ({delivery.reason})"
    return (str(delivery.id), delivery.state, ago(delivery.created_at, now()), delivery.destination, text)


def _show(detail: DeliveryDetailResponse) -> None:
    from aintandem_notify.cli.times import local

    moment, content = now(), detail.content or {}
    receipt = ", ".join(f"{name}={value}" for name, value in (detail.receipt or {}).items())
    show_facts(
        [
            ("id", str(detail.id)),
            ("state", _state(detail)),
            ("to", detail.destination),
            ("instead of", detail.instead_of),
            ("queued", local(detail.created_at, moment)),
            ("due", local(detail.due_at, moment) if detail.due_at and not detail.held else None),
            ("waits for", _waits_for(detail, moment)),
            ("only by", detail.only_by and f"the agent {detail.only_by}, on whose machine the destination is"),
            ("ended", local(detail.settled_at, moment) if detail.settled_at else None),
            ("last error" if detail.state == "queued" else "reason", detail.reason),
            ("failed tries", _tries(detail)),
            ("exception", f"{detail.fault}, {detail.fault_count} in a row" if detail.fault else None),
            ("receipt", receipt or None),
            ("notification", detail.notification),
            ("thread", detail.thread),
            ("severity", detail.severity),
            ("rule", content.get("rule")),
            *((str(name).lower(), str(value)) for name, value in content.get("fields", ())),
            ("link", content.get("url")),
        ]
    )
    if detail.title:
        echo()
        echo(detail.title, bold=True)
    if content.get("body"):
        echo_lines(content["body"])


def _state(detail: DeliveryDetailResponse) -> str:
    if not detail.in_flight:
        return detail.state
    return f"{detail.state}, on its way" + (f" by the agent {detail.claimed_by}" if detail.claimed_by else "")


def _tries(detail: DeliveryDetailResponse) -> str | None:
    """Returns the number of tries that failed because of the message; the destination's trouble is not counted."""
    words = [str(detail.attempts)] if detail.attempts else []
    if detail.plain:
        words.append("the last is as plain text" if detail.state == "queued" else "the last was as plain text")
    return "; ".join(words) or None


def _waits_for(detail: DeliveryDetailResponse, moment: datetime) -> str | None:
    from aintandem_notify.cli.times import ago

    if (held := detail.held) is not None:
        until = f", tried again {ago(held.retry_at, moment)}" if held.retry_at else ""
        reason = f": {held.last_error}" if held.last_error and held.last_error != detail.reason else ""
        return f"{detail.destination}, which is {held.state}{until}{reason}"
    return f"delivery {detail.behind}, which is of the same run and comes first" if detail.behind else None
