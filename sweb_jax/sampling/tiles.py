"""What the TPU's kernels of this folder share."""

from __future__ import annotations

import jax.numpy as jnp

TILE = 128
"""Columns of a tile, in which a TPU's memory is read and written."""


def precision(dtype: jnp.dtype) -> str | None:
  """With which products lose nothing of float32; of fewer bits they lose nothing anyway."""
  return 'highest' if dtype == jnp.float32 else None
