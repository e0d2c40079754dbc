"""The simulator's REST API, its progress socket, and the calls that cause faults on demand."""
