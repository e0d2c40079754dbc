"""Configuration files for end-to-end tests."""

from pathlib import Path
from typing import Final

CANARY: Final = "canary-0b5f2c7e91d4"
"""A password that must not appear in any output of the agent."""


def write_config(folder: Path, url: str, *tables: str, projects: tuple[str, ...] = ("project-123",)) -> Path:
    """``config.toml`` in ``folder`` for the orchestrator at ``url``, quick to reconnect.

    Connecting, and draining unless a table says otherwise, may take as long as a busy machine needs.
    """
    head = f'[orchestrator]\nurl = "{url}"\nusername = "admin"\npassword = "{CANARY}"\n'
    watched = "".join(f'\n[[projects]]\nid = "{project}"\n' for project in projects)
    pace = (
        '\n[connection]\nconnect_timeout = "1m"\nreconnect_initial_delay = "50ms"\nreconnect_max_delay = "200ms"\n'
    )
    if not any("[delivery]" in table for table in tables):
        pace += '\n[delivery]\ndrain_timeout = "1m"\n'
    path = folder / "config.toml"
    path.write_text("\n".join([head, watched, pace, *tables]), encoding="utf-8")
    return path
