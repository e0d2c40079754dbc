"""The simulated world: projects with tasks, workflows and sandboxes, and the logins to them. Knows no network."""
