"""Templates and conditions: compiled in a sandbox, with a budget for their cost."""
