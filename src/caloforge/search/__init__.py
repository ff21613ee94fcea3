"""The right network for a detector, searched for and not guessed."""
