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
    now,
    require_confirmation,
    show_facts,
    show_json,
    show_table,
)
from aintandem_notify.cli.echo import echo, echo_lines
from aintandem_notify.cli.options import EXIT_FAILED, config_argument

if TYPE_CHECKING:
    from datetime import datetime

    from aintandem_notify.control.deliveries import AdminAction
    from aintandem_notify.control.schemas import BulkResponse, DeliveryDetailResponse, DeliveryResponse

STATES = ("queued", "delivered", "dead", "folded")
RETRIED = ("dead", "folded")
DROPPED = ("queued",)

arguments = click.argument("arguments", nargs=-1, metavar="[CONFIG] ID")
many_arguments = click.argument("arguments", nargs=-1, metavar="[CONFIG] [ID]...")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")
all_option = click.option(
    "--all", "everything", is_flag=True, help="All, whatever their destination, state and time."
)


@click.group(
    short_help="Look at deliveries, retry or drop them.",
    epilog="Example:  aintandem-notify deliveries list config.toml --state dead",
)
def deliveries() -> None:
    """Look at what was or will be delivered, and retry or drop it by hand.

    The running agent is asked; where none runs, its store is opened.
    """


@deliveries.command("list", epilog="Example:  aintandem-notify deliveries list --state dead --since 2h")
@config_argument
@filter_options(STATES)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200), help="How many to show.")
@click.option("--before", type=click.IntRange(0), help="Only those with a lower number: the next page.")
@json_option
def list_deliveries(
    config: Path, states: tuple[str, ...], limit: int, before: int | None, as_json: bool, **where: Any
) -> None:
    """List deliveries, the newest first."""
    from aintandem_notify.control.client.backend import open_backend

    wanted = filter_from_options(**where, states=states)
    with open_backend(config) as backend:
        page = backend.page(wanted, limit=limit, before=before)
    if as_json:
        show_json(page)
        return
    if not page.deliveries:
        echo("no such deliveries", err=True)
    show_table(None, ("id", "state", "queued", "to", "what"), [_row(one) for one in page.deliveries])
    if page.next is not None:
        echo(f"there are more: add --before {page.next}", err=True)


@deliveries.command(
    short_help="Show all about a delivery.", epilog="Example:  aintandem-notify deliveries show config.toml 42"
)
@arguments
@json_option
def show(arguments: tuple[str, ...], as_json: bool) -> None:
    """Show all about a delivery: its notification, what it waits for, tries and receipt.

    An ID is the number that list shows, or how the notification's id begins (ntf_3fa).
    """
    from aintandem_notify.control.client.backend import open_backend

    config, reference = config_and_name(arguments, "ID")
    with open_backend(config) as backend:
        found = backend.show(reference)
    if as_json:
        show_json(found)
    else:
        _show(found)


@deliveries.command(epilog="Example:  aintandem-notify deliveries retry config.toml 42 43")
@many_arguments
@filter_options(RETRIED)
@all_option
@yes_option
@json_option
def retry(**options: Any) -> None:
    """Queue dead or folded deliveries once more, as if they were new.

    By their IDs, or all that --destination, --state, --since and --until name. An ID is the number that list
    shows, or how the notification's id begins. Exits with 1 when one of the IDs was left alone.
    """
    from aintandem_notify.control.deliveries import AdminAction

    _act(AdminAction.RETRY, "queued again", **options)


@deliveries.command(epilog="Example:  aintandem-notify deliveries drop --destination slack.team")
@many_arguments
@filter_options(DROPPED)
@all_option
@yes_option
@json_option
def drop(**options: Any) -> None:
    """Give up queued deliveries; they are dead then, and may be retried.

    By their IDs, or all that --destination, --state, --since and --until name. An ID is the number that list
    shows, or how the notification's id begins. Exits with 1 when one of the IDs was left alone.
    """
    from aintandem_notify.control.deliveries import AdminAction

    _act(AdminAction.DROP, "dropped", **options)


def _act(
    what: AdminAction,
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
        raise click.UsageError("Name IDs, or else --destination, --state, --since, --until or --all.")
    meant = sorted(states or ELIGIBLE_STATES[what])
    wanted = filter_from_options(**where, states=meant)
    if not ids and not yes:
        named = " ".join(f"--{name} {value}" for name, value in where.items() if value)
        require_confirmation(f"{what.capitalize()} all {' and '.join(meant)} deliveries {named}".strip() + "?")
    with open_backend(config) as backend:
        handled = backend.apply(what, ids) if ids else backend.apply_to_all(what, wanted)
    if as_json:
        show_json(handled)
    else:
        _tell(handled, done)
    if ids and handled.refused:
        sys.exit(EXIT_FAILED)


def _tell(handled: BulkResponse, done: str) -> None:
    number = "1 delivery" if handled.count == 1 else f"{handled.count} deliveries"
    named = f": {', '.join(map(str, handled.ids))}" if 0 < handled.count <= 20 else ""
    echo(f"{number} {done}{named}")
    for one in handled.refused:
        echo(f"{one.id} was left alone: {one.reason}", err=True)


def _row(one: DeliveryResponse) -> tuple[str, ...]:
    from aintandem_notify.cli.times import ago

    what = one.title or "(its notification is not kept any more)"
    if one.reason:
        what += f" ({one.reason})"
    return (str(one.id), one.state, ago(one.created_at, now()), one.destination, what)


def _show(found: DeliveryDetailResponse) -> None:
    from aintandem_notify.cli.times import local

    moment, content = now(), found.content or {}
    receipt = ", ".join(f"{name}={value}" for name, value in (found.receipt or {}).items())
    show_facts(
        [
            ("id", str(found.id)),
            ("state", _state(found)),
            ("to", found.destination),
            ("instead of", found.instead_of),
            ("queued", local(found.created_at, moment)),
            ("due", local(found.due_at, moment) if found.due_at and not found.held else None),
            ("waits for", _waits_for(found, moment)),
            ("only by", found.only_by and f"the agent {found.only_by}, on whose machine the destination is"),
            ("ended", local(found.settled_at, moment) if found.settled_at else None),
            ("last error" if found.state == "queued" else "reason", found.reason),
            ("failed tries", _tries(found)),
            ("exception", f"{found.fault}, {found.fault_count} in a row" if found.fault else None),
            ("receipt", receipt or None),
            ("notification", found.notification),
            ("thread", found.thread),
            ("severity", found.severity),
            ("rule", content.get("rule")),
            *((str(name).lower(), str(value)) for name, value in content.get("fields", ())),
            ("link", content.get("url")),
        ]
    )
    if found.title:
        echo()
        echo(found.title, bold=True)
    if content.get("body"):
        echo_lines(content["body"])


def _state(found: DeliveryDetailResponse) -> str:
    if not found.in_flight:
        return found.state
    return f"{found.state}, on its way" + (f" by the agent {found.claimed_by}" if found.claimed_by else "")


def _tries(found: DeliveryDetailResponse) -> str | None:
    """Trouble of the destination is none of the message's, and so no try of it."""
    words = [str(found.attempts)] if found.attempts else []
    if found.plain:
        words.append("the last is as plain text" if found.state == "queued" else "the last was as plain text")
    return "; ".join(words) or None


def _waits_for(found: DeliveryDetailResponse, moment: datetime) -> str | None:
    from aintandem_notify.cli.times import ago

    if (held := found.held) is not None:
        until = f", tried again {ago(held.retry_at, moment)}" if held.retry_at else ""
        why = f": {held.last_error}" if held.last_error and held.last_error != found.reason else ""
        return f"{found.destination}, which is {held.state}{until}{why}"
    return f"delivery {found.behind}, which is of the same run and comes first" if found.behind else None
