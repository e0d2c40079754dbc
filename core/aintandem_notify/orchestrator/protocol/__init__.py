"""The orchestrator's API: its addresses, its ids, and the meaning of its responses. Pure."""
