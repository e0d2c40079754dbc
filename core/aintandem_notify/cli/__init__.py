"""The command line: reads arguments, calls what does the work, prints. No logic of its own."""
