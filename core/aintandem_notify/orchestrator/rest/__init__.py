"""The orchestrator's REST API as typed calls, and the records that they return."""
