"""How fast the GPU is: a few seconds of measuring, on demand, and what to think of the figures."""
