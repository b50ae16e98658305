"""Networks that encode and decode; torch only."""
