"""How a detector meets many clips: inline, in processes, in threads, in batches."""
