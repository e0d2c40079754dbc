"""The control API: shows the state of a running agent and acts on its deliveries and destinations.

``server`` is the API inside the agent, with the dead man's switch. ``client`` is for the commands: it calls the
running agent, or opens the store where no agent runs. ``health`` decides whether the agent is well, ``deliveries``
works on the store for both sides. Nothing here touches objects of the agent: it gets snapshots and functions
(``server.access``).
"""
