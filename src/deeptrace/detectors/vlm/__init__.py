"""Language models as detectors, and what the ways of running them share."""
