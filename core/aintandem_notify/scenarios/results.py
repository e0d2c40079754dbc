"""The result of a scenario file: how it went, and the differences from its expectations."""

from dataclasses import dataclass
from pathlib import Path

from aintandem_notify.errors import ConfigError
from aintandem_notify.plugins.discovery.catalog import Catalog
from aintandem_notify.scenarios.comparison import Failure, compare
from aintandem_notify.scenarios.playing import play
from aintandem_notify.scenarios.reading.files import read_scenario
from aintandem_notify.scenarios.scenario import Scenario
from aintandem_notify.scenarios.timeline import Timeline


@dataclass(frozen=True, slots=True)
class PlayedScenario:
    """A scenario, its course, and the differences from its expectations."""

    scenario: Scenario
    timeline: Timeline
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The result of the file ``path``. ``error`` has its problems if it is wrong; else it was ``played``."""

    path: Path
    played: PlayedScenario | None = None
    error: ConfigError | None = None

    @property
    def is_right(self) -> bool:
        """True if all is as expected."""
        return self.played is not None and not self.played.failures


def run_file(path: Path, catalog: Catalog) -> ScenarioResult:
    """Plays the scenario in the file."""
    try:
        scenario = read_scenario(path, catalog)
    except ConfigError as error:
        return ScenarioResult(path, error=error)
    timeline = play(scenario)
    return ScenarioResult(path, PlayedScenario(scenario, timeline, tuple(compare(scenario, timeline))))
