"""The model, without any I/O: events, runs, notifications, and the reconciliation that makes missed events."""
