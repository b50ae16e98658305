"""Invertible maps around the network, and the functions that learn them."""
