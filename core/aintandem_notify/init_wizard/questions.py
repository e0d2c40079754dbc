"""The questions for the keys that the built-in plugins need; all other keys have good defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Question:
    """The question for one key of an instance.

    An empty answer omits an ``optional`` key. ``unless``: the question is skipped if this key was answered.
    """

    key: str
    text: str
    is_secret: bool = False
    default: str | None = None
    optional: bool = False
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class PluginQuestions:
    """A plugin: its purpose, the name of its first instance, and its questions."""

    about: str
    instance: str
    questions: tuple[Question, ...] = ()


PLUGINS: Final[Mapping[str, PluginQuestions]] = {
    "console": PluginQuestions("the terminal that the agent runs in", "terminal"),
    "desktop_notify": PluginQuestions("notifications on this desktop", "me"),
    "file_log": PluginQuestions(
        "a file of JSON lines", "audit", (Question("path", "File to write to", default="notifications.jsonl"),)
    ),
    "slack": PluginQuestions(
        "a Slack channel",
        "team",
        (
            Question(
                "webhook_url", "URL of an incoming webhook (empty: a bot token)", is_secret=True, optional=True
            ),
            Question("bot_token", "Bot token (xoxb-…)", is_secret=True, unless="webhook_url"),
            Question("channel", "Channel (C0123456789 or #builds)", unless="webhook_url"),
        ),
    ),
    "webhook": PluginQuestions(
        "any HTTP endpoint",
        "ops",
        (
            Question("url", "URL to POST to", is_secret=True),
            Question("secret", "Signing secret (whsec_…; empty: unsigned)", is_secret=True, optional=True),
        ),
    ),
}
"""The plugins by type, the simplest first."""
