"""The simulator's REST API and progress socket, and the calls that make faults on demand."""
