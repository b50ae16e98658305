"""Encode and decode: torch only."""
