"""The model, without any I/O: events, runs, notifications, and which events were missed."""
