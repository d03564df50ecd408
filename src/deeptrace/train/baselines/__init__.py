"""Training of the baselines `baseline:NAME`, and the table that sets all detectors side by side."""
