"""Measurements behind `potnode bench`; each returns figures, and docs/benchmarks.md quotes them."""
