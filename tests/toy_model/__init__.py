"""A model in one folder: mean deposits by cell, in units of the incident energy, times a common fluctuation."""
