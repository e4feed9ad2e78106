"""Norms between products: a TPU's kernel gives what XLA's operations give."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding, PartitionSpec

from sweb_jax.models.gemma import norms
from sweb_jax.models.sharding import make_mesh

WIDTH, EPS = 256, 1e-6
TOLERANCE = {jnp.float32: 2e-6, jnp.bfloat16: 2e-2}
"""Relative: of bfloat16 the last of eight bits, where a sum in another order rounds the other way."""


def normal(rng, dtype, *shape):
  return jnp.asarray(rng.standard_normal(shape), dtype)


def test_a_norm_divides_by_the_root_of_the_mean_square():
  x = np.array([[3.0, 4.0, 0.0, 0.0]])
  found = norms.rms_norm(jnp.asarray(x), {'scale': jnp.array([0.0, 1.0, 0.0, 0.0])}, 0.0)
  np.testing.assert_allclose(found, [[3 / 2.5, 2 * 4 / 2.5, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize('rows', [4, 16, 48])
@pytest.mark.parametrize('dtype', TOLERANCE)
@pytest.mark.parametrize('parts', ['before', 'out after', 'out before', 'out after before'])
def test_the_kernel_adds_and_norms_as_separate_operations_do(dtype, rows, parts):
  rng, where = np.random.default_rng(0), NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp', 'tensor')))
  x = normal(rng, dtype, rows, 1, WIDTH)
  out = 3 * normal(rng, dtype, rows, 1, WIDTH) if 'out' in parts else None
  after, before = (
    norms.prepared({'scale': normal(rng, dtype, WIDTH)}) if name in parts.split() else None
    for name in ('after', 'before')
  )
  assert norms.fits(x, where)
  wanted = norms.add(x, out, after, before, EPS)
  interpret = pltpu.InterpretParams(detect_races=True)
  found = norms.add_by_kernel(x, out, after, before, EPS, where=where, interpret=interpret)
  assert jax.tree.structure(found) == jax.tree.structure(wanted)
  for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    assert ours.dtype == theirs.dtype == dtype
    ours, theirs = (np.asarray(y, np.float32) for y in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / 10)
  less = norms.add(x, out if after else None, None, before, EPS)  # What is tested matters.
  if out is not None:
    assert np.abs(np.asarray(less[0] - wanted[0], np.float32)).max() > 0.5


def test_rows_that_fill_no_tiles_are_left_to_xla():
  where = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp', 'tensor')))
  assert [n for n in (1, 15, 16, 17, 24, 32) if norms.fits(jnp.zeros((n, 1, WIDTH)), where)] == [1, 15, 16, 32]
