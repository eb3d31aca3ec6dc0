"""Generators of variants: our diffusion model, and pipelines of `diffusers`."""
