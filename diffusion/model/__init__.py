"""The network, its noise schedule, its presets, and checkpoints of it."""
