"""The copula: every cell's own marginal, tied together by common factors."""
