"""The command line: one short file a command that parses, calls one function, and prints."""
