"""The commands of `lookalike diffusion`, a module for each."""

from diffusion.cli.app import app as app, main as main
