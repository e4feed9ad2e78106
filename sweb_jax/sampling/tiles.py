"""What the TPU's kernels of this folder share."""

from __future__ import annotations

import jax.numpy as jnp
from jax.sharding import Mesh

TILE = 128
"""Columns of a tile, in which a TPU's memory is read and written."""


def on_tpu(mesh: Mesh) -> bool:
  """Whether there are kernels for the devices of a mesh. Elsewhere they are not even traced, which takes a while."""
  return mesh.devices.flat[0].platform == 'tpu'


def precision(dtype: jnp.dtype) -> str | None:
  """With which products lose nothing of float32; of fewer bits they lose nothing anyway."""
  return 'highest' if dtype == jnp.float32 else None
