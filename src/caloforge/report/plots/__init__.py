"""Plots of a comparison: what they hold, which there are, and how they are drawn."""
