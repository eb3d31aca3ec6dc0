"""The store over FAISS: an exact tier for small libraries, a clustered one for large ones.

Snapshots, tiers, clusters and training are private to this folder; `manager` opens the store.
"""
