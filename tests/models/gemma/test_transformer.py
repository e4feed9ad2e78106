"""Properties of the forward pass that need no reference; equality with the gemma library stands in its own file."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig

TOLERANCE = 1e-5  # Of a logit, float32.
CONFIG = ModelConfig(
  97, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=5.0, final_softcap=8.0
)
LENGTH = 20


@functools.cache
def params() -> transformer.Params:
  rng = np.random.default_rng(0)
  shapes = transformer.shapes(CONFIG)
  return jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)


@functools.cache
def _compiled():
  return jax.jit(functools.partial(transformer.forward, config=CONFIG))


def logits(tokens, segment_ids=None, positions=None) -> np.ndarray:
  """Of one row of LENGTH ids."""
  segment_ids = np.ones(LENGTH, int) if segment_ids is None else np.asarray(segment_ids)
  positions = np.arange(LENGTH) if positions is None else np.asarray(positions)
  arrays = (np.asarray(a)[None] for a in (tokens, segment_ids, positions))
  return np.asarray(_compiled()(params(), **dict(zip(('tokens', 'segment_ids', 'positions'), arrays, strict=True))))[0]


TOKENS = np.random.default_rng(0).integers(0, 97, LENGTH)


def test_a_later_token_changes_no_earlier_logits():
  changed = TOKENS.copy()
  changed[12] = (changed[12] + 1) % 97
  difference = np.abs(logits(changed) - logits(TOKENS)).max(axis=-1)
  assert (difference[:12] == 0).all() and (difference[12:] > 0).all()


def test_examples_of_a_packed_row_do_not_see_each_other():
  a, b = TOKENS[:8], TOKENS[8:]
  packed = logits(TOKENS, [1] * 8 + [2] * 12, [*range(8), *range(12)])
  alone_a = logits(np.concatenate([a, b]))[:8]
  alone_b = logits(np.concatenate([b, a]))[:12]
  np.testing.assert_allclose(packed, np.concatenate([alone_a, alone_b]), rtol=0, atol=TOLERANCE)
  assert np.abs(logits(TOKENS)[8:] - alone_b).max() > 100 * TOLERANCE  # They would, without segments.


def test_rows_do_not_see_each_other():
  both = np.stack([TOKENS, TOKENS[::-1]])
  out = np.asarray(jax.jit(transformer.forward, static_argnums=1)(params(), CONFIG, both))
  np.testing.assert_allclose(out[0], logits(TOKENS), rtol=0, atol=TOLERANCE)
  np.testing.assert_allclose(out[1], logits(TOKENS[::-1]), rtol=0, atol=TOLERANCE)


def test_the_final_cap_bounds_the_logits():
  large = dict(params(), final_norm={'scale': np.full(CONFIG.width, 50, np.float32)})
  one = np.ones((1, LENGTH), int)
  out = _compiled()(large, tokens=TOKENS[None], segment_ids=one, positions=one.cumsum(axis=1) - 1)
  assert 7.5 < np.abs(out).max() <= 8.0


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_prepared_parameters_give_the_same_bits(dtype):
  config = dataclasses.replace(CONFIG, qk_norm=True)
  rng = np.random.default_rng(0)
  given = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), dtype), transformer.shapes(config))
  prepared = config.prepared(given)
  leaves = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(prepared)]
  assert sum('factor' in name for name in leaves) == 1 + 6 * config.layers and not any('scale' in x for x in leaves)
  one, other = (np.asarray(transformer.forward(tree, config, TOKENS[None])) for tree in (given, prepared))
  assert (one == other).all()


@functools.cache
def fresh(seed: int) -> tuple[ModelConfig, transformer.Params]:
  config = ModelConfig(500, 128, 256, 1, 4, 2, 32)
  return config, transformer.init(config, jax.random.key(seed))


def test_fresh_logits_have_unit_variance():
  config, p = fresh(0)
  out = np.asarray(jax.jit(transformer.forward, static_argnums=1)(p, config, np.arange(40)[None]))
  assert 0.8 < out.std() < 1.5


def test_fresh_parameters_are_a_function_of_the_key_and_each_has_its_own():
  (config, p), (_, other) = fresh(0), fresh(1)
  again = transformer.init(config, jax.random.key(0))
  assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), again, p)))
  weights, others = ([x for x in jax.tree.leaves(tree) if x.ndim > 1] for tree in (p, other))
  assert all((x == y).mean() < 0.01 for x, y in zip(weights, others, strict=True))
  assert len({round(float(x.ravel()[0] / x.std()), 3) for x in weights}) == len(weights)  # No key is used twice.


@pytest.mark.parametrize('name', SIZES)
def test_the_number_of_parameters_is_that_of_the_tree(name):
  config = SIZES[name]
  assert config.parameters == sum(x.size for x in jax.tree.leaves(transformer.shapes(config)))
