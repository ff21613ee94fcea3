"""The genetic algorithm that trains weights and architecture at the same time, and the studies of it."""
