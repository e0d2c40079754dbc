"""Broken receivers lose no message and affect no other destination."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from support.agent_process import AgentProcess
from support.fault_case import Case, open_case
from support.http_server import open_servers
from support.nasty import receivers_http
from support.nasty.wire import WireAnswer
from support.receivers import SlackReceiver, WebhookReceiver

STATES = {"delivered", "queued", "dead"}
"""The allowed states of a message; a dead one has a reason."""
DEADLY = {"400", "413", "431"}
"""Answers of a webhook after which a message may be dead."""
STEERING = ("\x1b", "\x9b", "\x00")
"""Texts that no line of the log may contain unchanged."""
SLACK: Mapping[str, WireAnswer] = {
    **receivers_http.PORTALS,
    **receivers_http.COMPATIBLE,
    **receivers_http.SLACK,
}


async def test_no_response_of_a_webhook_loses_or_delays_messages_of_others(tmp_path: Path) -> None:
    answers = receivers_http.ANSWERS
    async with open_case(tmp_path) as case, open_servers(len(answers)) as servers:
        hooks = {f"r{number}": WebhookReceiver(server, None) for number, server in enumerate(servers)}
        for hook, answer in zip(hooks.values(), answers.values(), strict=True):
            hook.replies.append(answer)
        tables = [
            f'[plugins.webhook.{name}]\nurl = "{hook.url}"\ntimeout = "30s"\nevents = ["task_failed"]\n'
            for name, hook in hooks.items()
        ]
        case.configure(*tables)
        well = [
            hook for hook, name in zip(hooks.values(), answers, strict=True) if name in receivers_http.ACCEPTED
        ]
        agent = await deliver(case, hooks.values(), well)
        check(case, [f"webhook.{name}" for name in hooks], agent)
        for name, description in zip(hooks, answers, strict=True):
            states = {state for state, _, _ in stored(case, f"webhook.{name}")}
            if description in receivers_http.ACCEPTED:
                assert states == {"delivered"}, description
            elif description not in DEADLY:
                assert "dead" not in states, description


async def test_no_response_of_slack_loses_or_delays_messages_of_others(tmp_path: Path) -> None:
    async with open_case(tmp_path) as case, open_servers(2 * len(SLACK)) as servers:
        channels = {f"c{number}": SlackReceiver(server) for number, server in enumerate(servers)}
        tables: list[str] = []
        for (name, slack), answer in zip(channels.items(), [*SLACK.values()] * 2, strict=True):
            slack.replies.append(answer)
            hook = f'webhook_url = "{slack.url}"'
            bot = f'api_url = "{slack.api_url}"\nbot_token = "{slack.bot_token}"\nchannel = "C0123456789"'
            door = hook if len(tables) < len(SLACK) else bot
            tables.append(f'[plugins.slack.{name}]\n{door}\nrate = "100/s"\nevents = ["task_failed"]\n')
        case.configure(*tables)
        well = [
            slack
            for slack, name in zip(channels.values(), [*SLACK] * 2, strict=True)
            if name in receivers_http.COMPATIBLE
        ]
        agent = await deliver(case, channels.values(), well)
        check(case, [f"slack.{name}" for name in channels], agent)
        for name, description in zip(channels, [*SLACK] * 2, strict=True):
            states = {state for state, _, _ in stored(case, f"slack.{name}")}
            if description in receivers_http.COMPATIBLE:
                assert states == {"delivered"}, description
            assert "dead" not in states, description


async def deliver(
    case: Case,
    receivers: Iterable[WebhookReceiver | SlackReceiver],
    well: Sequence[WebhookReceiver | SlackReceiver] = (),
) -> AgentProcess:
    """Deliver two failures until the healthy destinations have both and each receiver got a request."""
    all_receivers = list(receivers)
    case.max_descriptors += 4 * len(all_receivers)
    # Both failures must have arrived; notices about the other destinations may still wait.
    case.unfinished.update(case.destinations)
    async with case.agent() as agent:
        await case.connected()
        await case.fail("t1", "t2")
        await case.arrived()
        for receiver in all_receivers:
            await receiver.server.wait_until(partial(has_received, receiver, 1 + (receiver in well)))
    return agent


def has_received(receiver: WebhookReceiver | SlackReceiver, count: int) -> bool:
    """True if it was sent so many failures, not counting notices about other destinations."""
    return sum(b"task_failed" in request.body for request in receiver.requests) >= count


def check(case: Case, destinations: list[str], agent: AgentProcess) -> None:
    """The store has each message for each destination, in an allowed state with a readable reason."""
    for destination in destinations:
        rows = stored(case, destination)
        assert {run for _, _, run in rows} == {"t1", "t2"}, destination
        for state, reason, _ in rows:
            assert state in STATES, (destination, state)
            assert state != "dead" or reason, destination
    for text in ("receivercanary0123", *STEERING):
        assert text not in agent.everything, text


def stored(case: Case, destination: str) -> list[tuple[Any, ...]]:
    """The state, reason and run of each failure at the destination."""
    return case.stored(
        "SELECT d.state, d.reason, e.run_id FROM deliveries d JOIN notifications n ON n.id = d.notification_id"
        " JOIN events e ON e.key = n.event_key WHERE d.destination = ? AND e.type = 'task_failed'",
        destination,
    )
