"""Changes that need a restart are named, so that the operator restarts the agent."""

from pathlib import Path

import pytest

from aintandem_notify.agent.settings import changes_needing_restart
from support.config_texts import MINIMAL, load_text


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('proxy = "http://proxy.example:3128"', "[connection] proxy"),
        ('no_proxy = ["localhost"]', "[connection] no_proxy"),
        ('allow_addresses = ["169.254.10.0/24"]', "[connection] allow_addresses"),
    ],
)
def test_how_connections_are_made_needs_a_restart(line: str, name: str, tmp_path: Path) -> None:
    before = load_text(tmp_path, MINIMAL)
    after = load_text(tmp_path, f"{MINIMAL}[connection]\n{line}\n")
    assert changes_needing_restart(before, after) == (name,)


def test_other_times_need_none(tmp_path: Path) -> None:
    after = load_text(tmp_path, f'{MINIMAL}[connection]\nconnect_timeout = "7s"\n')
    assert changes_needing_restart(load_text(tmp_path, MINIMAL), after) == ()
