"""The lowest layer: time, threads, signals, streams, files and HTTP servers. Knows neither events nor projects."""
