"""What the TPU's kernels of this folder share."""

from __future__ import annotations

import jax.numpy as jnp
from jax.sharding import Mesh

from sweb_jax.models.cached_attention import LayerKV

TILE = 128
"""Columns of a tile, in which a TPU's memory is read and written."""


def on_tpu(mesh: Mesh) -> bool:
  """Whether there are kernels for the devices of a mesh. Elsewhere they are not even traced, which takes a while."""
  return mesh.devices.flat[0].platform == 'tpu'


def whole(kv: LayerKV, steps: int) -> bool:
  """Whether a cache has whole tiles, and chunks of so many steps lie within one, their values in whole tiles too."""
  width, columns = kv[0].shape[-2:]
  return steps % 16 == 0 and TILE % steps == width % TILE == columns % TILE == 0


def precision(dtype: jnp.dtype) -> str | None:
  """With which products lose nothing of float32; of fewer bits they lose nothing anyway."""
  return 'highest' if dtype == jnp.float32 else None
