"""What does the verdict find? Known distortions of Geant4 showers against every requirement."""
