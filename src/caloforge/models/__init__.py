"""Generators of showers: networks with their transformations inside."""
