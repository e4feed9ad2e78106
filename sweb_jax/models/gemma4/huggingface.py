"""What Gemma 3n and 4 are like in Hugging Face directories, where it is another than in `gemma.huggingface`."""

from __future__ import annotations

from sweb_jax.models.gemma.huggingface import EMBEDDING, NOT_TEXT, OUTPUT, PREFIXES
from sweb_jax.models.gemma4.tensors import parameter, shapes, tensors, unread

__all__ = ['EMBEDDING', 'NOT_TEXT', 'OUTPUT', 'PREFIXES', 'parameter', 'shapes', 'tensors', 'unread']

SPARE_ROWS = True
"""Rows of images and sound stand at the end of the table."""
