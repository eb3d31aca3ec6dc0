"""Vector stores find the nearest vectors. `base` has their contract, `registry` opens one by name.

The catalog holds the vectors themselves, so a store can be rebuilt at any time without embedding.
"""
