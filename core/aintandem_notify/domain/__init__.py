"""The model, without any I/O: events, runs, notifications, and the reconciliation that makes up missed events."""
