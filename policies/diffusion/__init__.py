"""Diffusion and flow policies: action chunks drawn from noise, learnt from demonstrations."""
