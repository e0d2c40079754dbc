"""One WebSocket of a project: dialling, frames, heartbeat, and the meaning of its end."""
