"""The mixer: layer energies, then a mixer over patches of the face."""
