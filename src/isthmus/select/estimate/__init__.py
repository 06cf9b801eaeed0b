"""Layer 6: accuracy on the target without its labels, one estimator a file; `base.discover`."""
