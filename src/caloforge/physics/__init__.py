"""Observables, comparisons and the report."""
