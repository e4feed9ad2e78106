"""Compiles the kernel of `sweb_jax.sampling.ragged` for a chip of v5e, for caches of many shapes; prints how many.

Run by a test.
"""

from __future__ import annotations

import os

os.environ |= {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'}
os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from sweb_jax.lowering import slices
from sweb_jax.models.sharding import make_mesh
from sweb_jax.sampling import ragged

CASES = (
  # slots of a chip, KV heads, query heads of each, width, columns, steps of a chunk, type, window, cap
  (256, 1, 2, 256, 1024, 16, jnp.float32, 512, None),  # All that a call of its body keeps is twice as large.
  (1, 3, 1, 128, 512, 16, jnp.bfloat16, None, None),  # No number of rows that two divides.
  (64, 1, 8, 256, 1024, 128, jnp.bfloat16, None, 50.0),  # A row's chunk fills a tile.
  (8, 16, 1, 256, 1024, 64, jnp.float32, 16, None),  # A window that ends within a chunk.
)


def compile_for(where, slots, heads, group, width, columns, steps, dtype, window, cap) -> None:
  slots *= where.mesh.size

  def attend(q, new, chunk, kv, at, begins, lengths):
    todo = ragged.work(kv, steps, begins, lengths, where)
    return ragged.attend(q, new, chunk, kv, at, begins, lengths, todo, window, cap, where)

  def array(*shape, dtype=dtype, spec=where.spec):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(where.mesh, spec))

  new, chunk = [array(slots, 1, heads, width)] * 2, (array(slots, heads, steps, width),) * 2
  kv = array(slots, heads, width, columns), array(slots, heads, columns, width)
  assert ragged.fits(kv, steps, where)
  step, counts = array(dtype=jnp.int32, spec=PartitionSpec()), [array(slots, dtype=jnp.int32)] * 2
  q = array(slots, 1, heads * group, width)
  jax.jit(attend, donate_argnums=2).lower(q, new, chunk, kv, step, *counts).compile()


def main() -> None:
  mesh = make_mesh(data=-1, devices=slices.devices('v5e-8'))
  for case in CASES:
    compile_for(NamedSharding(mesh, PartitionSpec(('data', 'fsdp'))), *case)
  print(len(CASES))


if __name__ == '__main__':
  main()
