"""The control API in the agent: its endpoints, who may ask them, and the ping that shows the agent's life."""
