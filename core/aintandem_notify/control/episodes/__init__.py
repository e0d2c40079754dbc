"""Episodes: lists them, ends them by hand, acknowledges and snoozes them; in the agent, and without one."""
