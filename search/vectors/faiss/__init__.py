"""The indexes over FAISS: exact for small libraries, clustered for large ones; their files."""
