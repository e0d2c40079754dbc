"""Serves ASGI applications on loopback, for the control API and for the simulator; limits who may connect."""
