"""Running plugin instances: one supervisor each, their hooks called with deadlines, their live queues."""
