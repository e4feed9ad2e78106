"""Gemma 3n and Gemma 4, text only: their shapes and names. The gemma library computes them."""
