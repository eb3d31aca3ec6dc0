"""The database of a library: files, pictures, metadata, vectors, tags, and a log of changes.

It is the truth of a library. Vector stores and thumbnails can be rebuilt from it and the files.
"""
