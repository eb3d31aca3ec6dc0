"""Models that turn pictures, and some of them texts, into vectors.

A new model is a file beside `openclip`, `timm` and `mini`, and a line in `registry`.
"""
