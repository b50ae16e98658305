"""Many fits at once."""
