"""Settings that must precede the first import of scipy."""

import os

# Without it scikit-learn skips its array API checks.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
