"""Files: showers in and out, public layouts in, and the store that training reads."""
