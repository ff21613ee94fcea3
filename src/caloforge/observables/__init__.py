"""Observables of showers: hits, projections, lengths in mm, each defined once."""
