"""How fast each part is, measured side by side in one run."""
