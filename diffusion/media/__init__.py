"""Decoding of pictures that may be hostile, in processes of its own. Nothing here imports torch."""
