"""How the orchestrator's API is spoken: its addresses, its ids, and the meaning of its responses. Pure."""
