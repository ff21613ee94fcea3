"""What every room stands on: errors, progress, addressed randomness, units, files that are whole or absent."""
