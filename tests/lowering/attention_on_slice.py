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
  # slots of a chip, of a set, KV heads, query heads of each, width, columns: prefix, prompts, own; chunk's steps, ...
  (256, 8, 1, 2, 256, 600, 512, 1024, 16, jnp.float32, 512, None),  # All that a call keeps is twice as large.
  (24, 1, 3, 1, 128, 0, 128, 512, 16, jnp.bfloat16, None, None),  # No prefix, and a prompt for each slot.
  (64, 32, 1, 8, 256, 100, 512, 1024, 128, jnp.bfloat16, None, 50.0),  # A slot's chunk fills a tile.
  (64, 4, 1, 8, 256, 1000, 3072, 1024, 16, jnp.bfloat16, 1000, None),  # Long prompts, in pieces.
  (8, 8, 16, 1, 256, 7, 128, 1024, 64, jnp.float32, 16, None),  # A window that ends within a chunk.
)


def compile_for(
  where, slots, a_set, heads, group, width, prefix, prompts, columns, steps, dtype, window, cap
) -> None:
  slots *= where.mesh.size

  def attend(q, new, chunk, shared, prompts, own, at, *seen):
    seen = ragged.Seen(*seen)
    todo, shared = ragged.work(own, steps, seen, where), ragged.whole(shared) if shared else None
    return ragged.attend(q, new, chunk, shared, prompts, own, at, seen, todo, window, cap, where)

  def array(*shape, dtype=dtype, spec=where.spec):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(where.mesh, spec))

  def keys(*shape, columns, spec=where.spec):
    return array(*shape, heads, width, columns, spec=spec), array(*shape, heads, columns, width, spec=spec)

  everywhere = PartitionSpec()
  chunk = (array(heads, slots, steps, width, spec=ragged.swapped(where).spec),) * 2
  of_sets, own = keys(slots // a_set, columns=prompts), keys(slots, columns=columns)
  assert ragged.fits(own, of_sets, steps, where)
  jax.jit(attend, donate_argnums=2).lower(
    array(slots, 1, heads * group, width),
    [array(slots, 1, heads, width)] * 2,
    chunk,
    keys(columns=prefix, spec=everywhere) if prefix else None,
    of_sets,
    own,
    array(dtype=jnp.int32, spec=everywhere),
    *[array(slots, dtype=jnp.int32, spec=PartitionSpec(where.spec[0]))] * 5,
  ).compile()


def main() -> None:
  mesh = make_mesh(data=-1, devices=slices.devices('v5e-8'))
  for case in CASES:
    compile_for(NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), None)), *case)
  print(len(CASES))


if __name__ == '__main__':
  main()
