"""Real showers from Geant4."""
