"""Files, checkpoints, locks."""
