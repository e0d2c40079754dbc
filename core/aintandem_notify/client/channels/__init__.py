"""One project of the client: its connection, its listeners, and the queues of its subscribers."""
