"""How commands reach an agent's state: the running agent's API, or the store where none runs."""
