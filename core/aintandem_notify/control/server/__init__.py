"""The agent's side of the control API: its endpoints, and their authorization."""
