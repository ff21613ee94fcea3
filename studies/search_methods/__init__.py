"""How good a network each method of search finds."""
