"""What comes in, as rows of numbers."""
