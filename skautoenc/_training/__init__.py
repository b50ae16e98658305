"""The engine: it knows no estimator and no file."""
