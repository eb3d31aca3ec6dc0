"""The index of local features: which pictures share points with a query.

An inverted file over the codes of all stored points. It follows the catalog's change log, as the
stores of vectors do, and is built from the catalog when its snapshot is missing.
"""
