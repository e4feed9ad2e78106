"""How a chunk is written to the cache: both ways are the same to the bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.sharding import make_mesh
from sweb_jax.sampling import decode


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_a_chunk_comes_after_what_each_row_has_by_row_or_in_one_pass(dtype):
  rng = np.random.default_rng(0)
  slots, heads, width, columns, steps = 5, 2, 3, 12, 4
  k, v, new_k, new_v = (
    jnp.asarray(rng.standard_normal((slots, heads, *shape)), dtype)
    for shape in ((width, columns), (columns, width), (width, steps), (steps, width))
  )
  lengths = np.array([0, 8, 4, 0, 8])
  expected_k, expected_v = np.array(k), np.array(v)
  for row, n in enumerate(lengths):
    expected_k[row, ..., n : n + steps], expected_v[row, :, n : n + steps] = new_k[row], new_v[row]
  for append in (decode.append_by_row, decode.append_in_one_pass):
    found_k, found_v = append((k, v), (new_k, new_v), jnp.asarray(lengths))
    np.testing.assert_array_equal(np.array(found_k), expected_k)
    np.testing.assert_array_equal(np.array(found_v), expected_v)


@pytest.mark.parametrize('length', [3, 9])
def test_shapes_of_a_prefix_are_those_of_what_is_computed(length):
  c = ModelConfig(64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6)
  params, mesh = c.init(jax.random.key(0)), make_mesh()
  found = decode.prefix(params, jnp.arange(length), c, mesh)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
    lambda x: (x.shape, x.dtype), decode.prefix_shapes(length, jnp.dtype('float32'), c)
  )
