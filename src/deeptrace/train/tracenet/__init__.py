"""Training of TraceNet, the default detector: measure, fit, cross-fit, calibrate, export."""
