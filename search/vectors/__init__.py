"""Indexes of vectors that are searched for the nearest ones. The catalog holds the vectors
themselves, so an index can be made again at any time.
"""
