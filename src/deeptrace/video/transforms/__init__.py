"""Degradations and crops, with what they do to annotations."""
