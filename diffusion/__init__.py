"""Denoising diffusion (DDPM) in torch: train it, sample from it, and look inside.

from diffusion import load, sample
pictures = sample(load(), 16)                # the shipped model; (16, 3, 64, 64) in -1..1
"""

from diffusion.checkpoint import load
from diffusion.denoiser import Denoiser
from diffusion.errors import DiffusionError
from diffusion.presets import Config, preset
from diffusion.run import Options, Progress, Run
from diffusion.sample import sample
from diffusion.unet import Shape, UNet

__all__ = [
    "Config",
    "Denoiser",
    "DiffusionError",
    "Options",
    "Progress",
    "Run",
    "Shape",
    "UNet",
    "load",
    "preset",
    "sample",
]
