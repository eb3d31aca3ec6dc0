"""The database of a library: files, pictures, metadata, vectors, tags, and a log of changes.

It is the truth of a library; vector indexes and thumbnails can be made again from it and the files.
"""
