"""One project of the client: its link, its listeners, and the queues of its subscribers."""
