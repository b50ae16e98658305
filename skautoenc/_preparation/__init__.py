"""Invertible maps around the network, and how they are learnt."""
