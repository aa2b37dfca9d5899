"""Alignment of diffusion and flow policies with what people prefer."""
