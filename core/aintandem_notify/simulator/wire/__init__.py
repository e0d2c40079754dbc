"""The simulated network: connections, who watches which project over them, and the faults that wait to happen."""
