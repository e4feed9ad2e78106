"""How a chunk is written to the cache: all ways are the same to the bit."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from sweb_jax.sampling import append, tiles

SMALL, TILES = (5, 2, 3, 12, 4), (6, 2, 128, 256, 16)
LENGTHS = np.array([0, 8, 4, 0, 8, 16])
"""Of tiles 16 times as much, which reaches the second tile. The last row is full: what becomes of it is of no use."""


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
  ('sizes', 'way'),
  [
    (SMALL, append.append_by_row),
    (SMALL, append.append_in_one_pass),
    (TILES, append.append_in_one_pass),
    (TILES, functools.partial(append.append_by_tile, interpret=pltpu.InterpretParams(detect_races=True))),
  ],
)
def test_a_chunk_comes_after_what_each_row_has(sizes, way, dtype):
  rng = np.random.default_rng(0)
  slots, heads, width, columns, steps = sizes
  k, v, new_k, new_v = (
    jnp.asarray(rng.standard_normal((slots, heads, *shape)), dtype)
    for shape in ((width, columns), (columns, width), (width, steps), (steps, width))
  )
  lengths = LENGTHS[:slots] * (1 if sizes is SMALL else 16)
  expected_k, expected_v = np.array(k), np.array(v)
  for row, n in enumerate(lengths[:5]):
    expected_k[row, ..., n : n + steps], expected_v[row, :, n : n + steps] = new_k[row], new_v[row]
  found_k, found_v = way((k, v), (new_k, new_v), jnp.asarray(lengths))
  np.testing.assert_array_equal(np.array(found_k)[:5], expected_k[:5])
  np.testing.assert_array_equal(np.array(found_v)[:5], expected_v[:5])


def test_chunks_are_written_by_tile_where_none_lies_in_two():
  def written(steps, width=128, columns=768):
    return tiles.whole((jnp.zeros((1, 1, width, columns)), jnp.zeros((1, 1, columns, width))), steps)

  assert [n for n in (8, 16, 24, 32, 48, 128, 256) if written(n)] == [16, 32, 128]
  assert not written(16, width=64) and not written(16, columns=720)
