"""Public layouts in: read as they were published, written as shower files."""
