"""Measures the agent's throughput, memory and latency from outside, in one run on loopback.

    python -m benchmarks            # prints the table
    python -m benchmarks --write    # and writes docs/benchmarks.md

The agent runs in a process of its own, started as a user starts it. So does ``sender``, the orchestrator that
floods it: neither takes processor time from the other's interpreter.
"""
