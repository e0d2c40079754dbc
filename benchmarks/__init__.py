"""How fast, how small and how quick the agent is, measured from outside in one run on loopback.

    python -m benchmarks            # prints the table
    python -m benchmarks --write    # and writes docs/benchmarks.md

The agent runs as its own process, started as a user starts it; so does the orchestrator that floods it
(``sender``), so that neither takes time from the other's interpreter.
"""
