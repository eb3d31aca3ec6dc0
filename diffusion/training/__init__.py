"""Data, options, the loop and the files of a training run."""
