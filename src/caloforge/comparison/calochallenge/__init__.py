"""The protocol by which the CaloChallenge judges generators (C. Krause et al., arXiv:2410.21611), as published."""
