"""One WebSocket link of a project: dialling, handshake, frames, heartbeat, and the meaning of its end."""
