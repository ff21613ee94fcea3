"""``python -m caloforge``, for launchers that start modules."""

from caloforge.cli.main import main

main()
