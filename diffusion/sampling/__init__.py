"""From noise or a picture to pictures: samplers, samples, variants, and drawings of the process."""
