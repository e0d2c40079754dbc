"""Lets processes with an environment of their own be measured too."""

import os


def coverage_variables() -> dict[str, str]:
    """The variables by which a new Python process measures its coverage; none if this process is not measured."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
