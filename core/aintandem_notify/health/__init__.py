"""Judges the agent's health, and makes sure that a person learns of trouble.

``conditions`` finds the reasons in the facts of the agent's parts, ``episodes`` decides when one begins and ends,
``monitor`` asks both again and again, and ``heartbeat`` pings the monitor of the operator's choice.
"""
