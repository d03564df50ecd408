"""deeptrace: is this video AI-generated, and where, when, which and why."""
