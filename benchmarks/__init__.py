"""The tables of the documentation come from here."""
