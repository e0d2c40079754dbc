"""Serves ASGI applications on loopback, for the control API and the simulator. Limits the connections."""
