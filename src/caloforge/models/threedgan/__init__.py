"""3DGAN: the networks of the CERN openlab talk of 2019, for a fixed and for a variable angle."""
