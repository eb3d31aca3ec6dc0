"""Pictures as files and pixels: reading, decoding, metadata, thumbnails. Nothing here knows of a
library or a model."""
