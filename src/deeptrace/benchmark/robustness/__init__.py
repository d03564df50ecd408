"""What changes to clips, attacks and long hay do to a detector, on the user's own clips: `deeptrace robustness`."""
