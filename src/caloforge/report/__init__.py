"""The report of a comparison: its plots, and one page that holds them."""
