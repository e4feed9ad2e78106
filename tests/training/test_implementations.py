"""The gemma library's modules under the same training step: loss, gradients and updates are the native ones."""

from __future__ import annotations

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import families, sharding
from sweb_jax.models.decoder import DecoderError
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.training import Lora, Optimizer, Packer, Run, Schedule, fit
from sweb_jax.training.data import Batch
from sweb_jax.training.step import mean_loss, merge_adapters, start, train_step

TOLERANCE = 2e-5
"""Of the loss, and of each gradient relative to the largest of its parameter; float32."""

# Caps that bite, a window shorter than the examples, grouped heads; then norms of queries and keys, and one KV head.
GEMMA2 = ModelConfig(
  97, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=5, attn_softcap=1.5, final_softcap=2.0,
  query_scale=(32 / 4) ** -0.5,
)  # fmt: skip
GEMMA3 = ModelConfig(
  97, 32, 64, 2, 4, 1, 16, pattern=('local', 'global'), window=5, qk_norm=True, rope_base=1e6, rope_scale=8.0
)
CONFIGS = pytest.mark.parametrize('config', [GEMMA2, GEMMA3], ids=['gemma2', 'gemma3'])


@functools.cache
def library(config: ModelConfig):
  pytest.importorskip('gemma')
  return families.implement(config, 'gemma')


@functools.cache
def params_of(config: ModelConfig):
  """Norms that are not 1, and layers that outweigh the embedding."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32) * (0.5 if x.ndim == 1 else x.shape[-1] ** -0.5)),
    config.shapes(),
  )


def packer(multiple_of: int = 1) -> Packer:
  """Ragged examples, several a row, with padding at the ends."""
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 97, n).tolist(), 1), n // 2) for n in (4, 13, 9, 17, 6, 11)]
  return Packer(rendered, batch=6, steps=1, seed=0, row_length=32, multiple_of=multiple_of)


def assert_same(found, wanted) -> None:
  """Trees of arrays within the tolerance of the largest value of each."""

  def one(path, a, b):
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max(), err_msg=jax.tree_util.keystr(path))

  jax.tree_util.tree_map_with_path(one, found, wanted)


@pytest.mark.slow
@CONFIGS
def test_loss_and_gradients_of_packed_rows_equal_the_native_ones(config):
  batch, params = packer().batch(0), params_of(config)
  assert batch.segment_ids.max() > 1 and (batch.segment_ids == 0).any()
  (loss, grads), (wanted, wanted_grads) = (
    jax.jit(jax.value_and_grad(functools.partial(mean_loss, config=c)))(params, batch)
    for c in (library(config), config)
  )
  assert float(loss) == pytest.approx(float(wanted), abs=TOLERANCE)
  assert_same(grads, wanted_grads)
  wrong = batch._replace(segment_ids=np.minimum(batch.segment_ids, 1))
  assert abs(mean_loss(params, wrong, library(config)) - wanted) > 50 * TOLERANCE  # What one wrong mask would change.


@pytest.mark.slow
@pytest.mark.parametrize(
  'optimizer',
  [Optimizer(micro_batches=2), Optimizer(name='adafactor'), Optimizer(lora=Lora(2, 4.0, 'attn|mlp'))],
  ids=['adamw in parts', 'adafactor', 'adapters'],
)
def test_a_step_updates_what_the_native_step_updates(optimizer):
  """The same optimisers, adapters and parts of a batch serve both."""
  mesh, params = sharding.make_mesh(), params_of(GEMMA2)
  batch = packer(multiple_of=2).batch(0)
  found = []
  for config in (library(GEMMA2), GEMMA2):
    state = start(params, optimizer, mesh, seed=3)
    for _ in range(2):
      state, metrics = train_step(
        state, batch, np.float32(1e-3), params, config=config, optimizer=optimizer, mesh=mesh
      )
    loss, norm = map(float, metrics)
    found.append((jax.device_get(merge_adapters(state.params, params, optimizer)), loss, norm))
  (trained, loss, norm), (wanted, wanted_loss, wanted_norm) = found
  assert (loss, norm) == pytest.approx((wanted_loss, wanted_norm), rel=10 * TOLERANCE)
  moved = max(np.abs(a - np.asarray(b)).max() for a, b in zip(*map(jax.tree.leaves, (wanted, params)), strict=True))
  apart = max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (trained, wanted)), strict=True))
  assert moved > 1e-4 and apart < 0.02 * moved


@pytest.mark.slow
def test_the_librarys_logits_of_all_positions_are_never_computed():
  """Its module gives them with the hidden states; nobody reads them, so the compiled program has no array so large."""
  rows, length, targets, vocabulary = 2, 64, 8, 4096
  config = ModelConfig(vocabulary, 32, 64, 1, 2, 1, 16)
  ints = [jax.ShapeDtypeStruct((rows, n), jnp.int32) for n in (length, length, length, targets, targets)]
  batch = Batch(*ints, jax.ShapeDtypeStruct((rows, targets), jnp.float32))

  def largest(function) -> int:
    text = jax.jit(function).lower(config.shapes(), batch).compile().as_text()
    return max(math.prod(map(int, dims.split(','))) for dims in re.findall(r'\w\[([\d,]+)\]', text))

  loss = functools.partial(mean_loss, config=library(config))
  assert largest(jax.value_and_grad(loss)) < rows * length * vocabulary
  everything = largest(lambda p, b: library(config).forward(p, b.tokens))
  assert everything == rows * length * vocabulary  # What would have been seen.


@pytest.mark.slow
def test_the_librarys_layers_are_computed_again_backward_with_the_same_gradients():
  batch, found = packer().batch(0), []
  for remat in ('none', 'full'):  # Flax keeps what it has traced: the second must not be the first.
    gradients = jax.value_and_grad(functools.partial(mean_loss, config=library(GEMMA2), remat=remat))
    layers = str(jax.make_jaxpr(gradients)(params_of(GEMMA2), batch)).count('prevent_cse')
    found.append((layers, jax.jit(gradients)(params_of(GEMMA2), batch)))
  assert found[0][0] == 0 and found[1][0] >= GEMMA2.layers
  assert_same(found[1][1], found[0][1])


@pytest.mark.slow
def test_a_rematerialisation_that_the_library_cannot_do_is_refused_before_anything_is_written(tmp_path):
  with pytest.raises(DecoderError, match=r"remat='dots': the implementation 'gemma' can do 'none', 'full'"):
    one = Run(packer(), Schedule(1e-3, 1), [1], lambda _: (0.0, 0, 0.0), tmp_path / 'run')
    how = Optimizer(remat='dots')
    fit(params_of(GEMMA2), library(GEMMA2), [one], mesh=sharding.make_mesh(), optimizer=how, save_seconds=1e9)
  assert not (tmp_path / 'run').exists()
