"""The arrays that live from call to call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.sharding import make_mesh
from sweb_jax.sampling import decode


@pytest.mark.parametrize('length', [3, 9])
def test_shapes_of_a_prefix_are_those_of_what_is_computed(length):
  c = ModelConfig(64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6)
  params, mesh = c.init(jax.random.key(0)), make_mesh()
  found = decode.prefix(params, jnp.arange(length), c, mesh)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
    lambda x: (x.shape, x.dtype), decode.prefix_shapes(length, jnp.dtype('float32'), c)
  )


def test_a_completion_has_whole_chunks_of_columns():
  assert [decode.completion_columns(n, 16, make_mesh()) for n in (1, 16, 1000)] == [16, 16, 1008]
