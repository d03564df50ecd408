"""The edits that make a synthetic trace, by kind."""
