"""A small video generator, improved with deeptrace's reward; see `benchmarks/close_the_loop.py`."""
