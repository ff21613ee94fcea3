"""Judges of whole showers: classifiers, distances, tests, the search for copies."""
