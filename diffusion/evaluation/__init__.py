"""How good samples are: distances between sets of pictures, likelihood, and features."""
