"""Benchmarks, whose tables are in the documentation."""
