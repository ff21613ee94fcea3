"""What parts of a design are worth: networks compared at equal core-seconds on the same showers."""
