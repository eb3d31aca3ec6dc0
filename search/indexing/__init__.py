"""From folders to the catalog: list files, find what changed, decode, embed, commit. Also uploads,
export of vectors, and the check of a library.
"""
