"""What the outside can learn and ask of a running agent: how it does, and to act on its deliveries.

``server`` is the API within the agent, ``reach`` what the commands use: it talks to the running agent, or opens
the store itself where none runs. ``heartbeat`` tells others that all is well, which ``wellness`` decides. Nothing
here reaches into objects of the agent: it gets snapshots, and functions to act with (``access``).
"""
