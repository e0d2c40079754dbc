"""The simulated network: connections, the subscriptions over them, and scheduled faults."""
