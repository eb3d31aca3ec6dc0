"""The store over Milvus: a server that many machines share, or Milvus Lite in a folder `x.db`.

Every space of every library is a collection of its own. `manager` opens the stores.
"""
