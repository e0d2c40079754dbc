"""Gives commands access to an agent's state: through its control API, or in its store where no agent runs."""
