"""Side-by-side measurements, each with a printed ratio: ``python -m benchmarks [name]``."""
