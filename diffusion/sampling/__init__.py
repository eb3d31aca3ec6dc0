"""Generation of pictures: samplers, samples, variants, and a figure of the diffusion process."""
