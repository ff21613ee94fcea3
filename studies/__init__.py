"""Studies: what the methods of this package cost and gain, each a command, a result and a figure."""
