"""How training scales to many workers."""
