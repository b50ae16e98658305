"""One file an estimator: parameters, documentation, scikit-learn's contract."""
