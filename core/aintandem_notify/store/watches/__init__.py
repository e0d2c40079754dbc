"""The store's part of watches: timers, the times in which nothing could be heard, and the runs they look at."""
