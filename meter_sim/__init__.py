"""Simulated meters that speak real devices' protocols, and the bench, demo and simulation around them."""
