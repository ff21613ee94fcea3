"""Studies of what caloforge rests on, outside the wheel: a command, a committed result and a figure each."""
