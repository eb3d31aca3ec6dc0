"""Pictures as files and pixels: decoding in worker processes, metadata, thumbnails, safe fetching
of URLs. Nothing here knows of a library or a model.
"""
