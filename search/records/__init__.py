"""Records that the engine takes and returns, a module for each noun: frozen dataclasses that
convert to JSON. A command imports those that it needs."""
