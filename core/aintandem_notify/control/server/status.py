"""Builds the status of a running agent from its snapshots, and answers the health endpoints."""

import os
from dataclasses import replace
from datetime import datetime
from functools import partial

import trio

from aintandem_notify.control.peers import peers_of
from aintandem_notify.control.schemas import (
    AgentResponse,
    DestinationResponse,
    HealthAnswer,
    HealthResponse,
    HeldResponse,
    PeerResponse,
    PluginResponse,
    ProjectResponse,
    ReasonResponse,
    StatusResponse,
    StoreResponse,
    UnwatchedResponse,
)
from aintandem_notify.control.server.access import AgentAccess
from aintandem_notify.control.silences import held_of
from aintandem_notify.domain.health import Health
from aintandem_notify.errors import StoreError
from aintandem_notify.health.conditions import store_trouble
from aintandem_notify.log import redact
from aintandem_notify.orchestrator import ProjectStatus
from aintandem_notify.store import Store, TransactionPurpose


async def status_of(access: AgentAccess, address: str) -> StatusResponse:
    """Returns the status. If the store fails or is too slow, its parts are missing and its trouble is shown."""
    store_health = access.liveness.latest()
    destinations: tuple[DestinationResponse, ...] = ()
    peers: tuple[PeerResponse, ...] = ()
    held: tuple[HeldResponse, ...] = ()
    episodes = 0
    problem: str | None = "the store does not answer"
    with trio.move_on_after(access.times.store_s):
        try:
            snapshot = await access.destinations()
            destinations = tuple(DestinationResponse.model_validate(destination) for destination in snapshot)
            peers, held, episodes = await access.storage.run(partial(_parts_of_store, now=access.clock.now()))
            problem = None
        except StoreError as error:
            problem = str(error)
    store_health = replace(store_health, trouble=store_health.trouble or problem)
    unwatched, health = access.unwatched(), access.health()
    return StatusResponse(
        config=str(access.config.absolute()),
        agent=AgentResponse(
            version=access.version,
            pid=os.getpid(),
            state=access.phase(),
            started_at=access.started_at,
            address=address,
        ),
        trouble=_sentence(health) or problem,
        health=_health(health),
        projects=tuple(map(_project, access.projects())),
        unwatched=UnwatchedResponse.model_validate(unwatched) if unwatched is not None else None,
        plugins=tuple(PluginResponse.model_validate(instance) for instance in access.plugins()),
        destinations=destinations,
        held=held,
        episodes=episodes,
        store=StoreResponse(name=redact(access.storage.name), trouble=store_trouble(store_health)),
        peers=peers,
    )


def _parts_of_store(store: Store, now: datetime) -> tuple[tuple[PeerResponse, ...], tuple[HeldResponse, ...], int]:
    """Returns the other agents, the notifications that stages hold, and the number of open episodes."""
    with store.transaction(purpose=TransactionPurpose.READ, fenced=False):
        return peers_of(store, now), held_of(store), store.episodes.count_open()


def readiness(access: AgentAccess, *, shows_details: bool) -> HealthAnswer:
    """Returns whether the agent is ready, and its health.

    Without ``shows_details`` the text has nothing from outside: it may name files and addresses, and anybody on
    this machine may ask.
    """
    if access.phase() != "running":
        return _answer(f"the agent is {access.phase()}", ok=False)
    health = access.health()
    kinds = ", ".join(dict.fromkeys(reason.id.value for reason in health.reasons))
    short = f"{health.state.value}: {kinds}" if kinds else health.state.value
    return _answer(redact(health.summary()) if shows_details else short, ok=health.is_ready)


def liveness(access: AgentAccess) -> HealthAnswer:
    """Returns whether the event loop and the store's worker thread answer, so that a restart would not help."""
    is_stuck = access.liveness.latest().is_stuck
    return _answer("the store does not answer" if is_stuck else "well", ok=not is_stuck)


def _answer(text: str, *, ok: bool) -> HealthAnswer:
    return HealthAnswer(ok=ok, health=text, reason=None if ok else text)


def _sentence(health: Health) -> str | None:
    return redact(health.summary()) if health.reasons else None


def _health(health: Health) -> HealthResponse:
    return HealthResponse(
        state=health.state.value,
        ready=health.is_ready,
        reasons=tuple(
            ReasonResponse(
                id=reason.id.value, subject=reason.subject, text=redact(reason.text), since=reason.since
            )
            for reason in health.reasons
        ),
    )


def _project(status: ProjectStatus) -> ProjectResponse:
    return ProjectResponse(
        id=status.project.id,
        name=status.project.name,
        state=status.state.value,
        since=status.since,
        gone=status.gone,
        connected_at=status.connected_at,
        attempts=status.attempts,
        last_error=status.last_error,
        events=status.events,
        restarts=status.restarts,
    )
