"""The training engine, which knows no estimators and no files."""
