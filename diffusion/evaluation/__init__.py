"""Evaluation: distances between sets of pictures, likelihood, and features of the network."""
