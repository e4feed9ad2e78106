"""Loss and gradients: packed or not, in chunks or not, recomputed or not, on one device or eight."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.source import open_model
from sweb_jax.records import Example
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import Packer
from sweb_jax.training import loss as loss_lib
from sweb_jax.training.data import Batch, examples_at
from sweb_jax.training.step import mean_loss

TOLERANCE = 2e-5
"""Of the loss, and of each gradient relative to the largest of its parameter; float32."""

ROW, SEED = 96, 0


@functools.cache
def wc():
  model = open_model('embedded:wc')
  return model.config, model.load(sharding.make_mesh()), Renderer(model.tokenizer)


@functools.cache
def rendered():
  task, renderer = get('arithmetic'), wc()[2]
  return [renderer.example(Example(p.id, task.prompt(p), p.solutions[0])) for p in task.problems('train', 8, 0)]


@functools.cache
def packed() -> Batch:
  return Packer(rendered(), batch=8, steps=1, seed=SEED, row_length=ROW).batch(0)


def one_a_row() -> Batch:
  """The same examples, each in a row of its own."""
  batch = Batch(*(np.zeros((8, *a.shape[1:]), a.dtype) for a in packed()))
  for row, i in enumerate(examples_at(0, examples=8, batch=8, seed=SEED)):
    ids, begin = rendered()[i]
    n, losses = len(ids) - 1, len(ids) - begin
    batch.tokens[row, :n], batch.segment_ids[row, :n], batch.positions[row, :n] = ids[:-1], 1, range(n)
    batch.target_at[row, :losses], batch.targets[row, :losses] = range(begin - 1, n), ids[begin:]
    batch.weights[row, :losses] = 1
  return batch


@functools.cache
def compiled(remat: str = 'none'):
  """Loss and gradients of the model."""
  return jax.jit(jax.value_and_grad(functools.partial(mean_loss, config=wc()[0], remat=remat)))


@functools.cache
def reference():
  return compiled()(wc()[1], packed())


def assert_same(found, wanted) -> None:
  """Loss and gradients within the tolerance."""
  (loss, grads), (loss_wanted, grads_wanted) = jax.device_get((found, wanted))
  assert loss == pytest.approx(loss_wanted, abs=TOLERANCE)

  def one(path, a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max(), err_msg=jax.tree_util.keystr(path))

  jax.tree_util.tree_map_with_path(one, grads, grads_wanted)


def test_invariant_4_packed_rows_give_the_loss_and_gradients_of_one_example_a_row():
  assert packed().segment_ids.max() > 1 and one_a_row().segment_ids.max() == 1
  assert_same(compiled()(wc()[1], one_a_row()), reference())


def test_the_tolerance_is_far_below_what_one_wrong_segment_or_position_changes():
  loss, grads = reference()
  one_segment = packed()._replace(segment_ids=np.minimum(packed().segment_ids, 1))
  no_positions = packed()._replace(positions=np.zeros_like(packed().positions))
  for wrong in (one_segment, no_positions):
    assert abs(compiled()(wc()[1], wrong)[0] - loss) > 50 * TOLERANCE
    with pytest.raises(AssertionError):
      assert_same((loss, compiled()(wc()[1], wrong)[1]), (loss, grads))


def test_what_stands_where_no_loss_is_changes_nothing():
  """Weight 0, and padding."""
  batch = packed()
  other = batch._replace(
    tokens=np.where(batch.segment_ids == 0, 77, batch.tokens),
    targets=np.where(batch.weights == 0, 55, batch.targets),
  )
  assert_same(compiled()(wc()[1], other), reference())


def test_invariant_4_no_gradient_comes_from_predicting_the_prompt():
  """The loss is the mean over solution tokens and EOS of the plain forward pass."""
  from sweb_jax.models import transformer

  config, params, _ = wc()
  width = max(len(ids) for ids, _ in rendered())
  rows = np.asarray([[*ids, *[0] * (width - len(ids))] for ids, _ in rendered()])
  logprobs = np.asarray(jax.nn.log_softmax(jax.jit(transformer.forward, static_argnums=1)(params, config, rows)))
  losses = [
    -logprobs[r, i - 1, ids[i]] for r, (ids, begin) in enumerate(rendered()) for i in range(begin, len(ids))
  ]
  assert float(reference()[0]) == pytest.approx(np.mean(losses), abs=TOLERANCE)


@pytest.mark.parametrize('remat', ['dots', 'full'])
def test_recomputing_blocks_gives_the_same_gradients(remat):
  assert_same(compiled(remat=remat)(wc()[1], packed()), reference())


@pytest.mark.parametrize('softcap', [None, 30.0, 80.0])
def test_the_loss_in_chunks_and_its_gradients_are_those_of_all_logits(monkeypatch, softcap):
  """The last chunk is not full, targets of weight 0 count nothing, and logits are large."""
  rng = np.random.default_rng(0)
  x, table = rng.standard_normal((3, 13, 16), np.float32), 8 * rng.standard_normal((50, 16), np.float32)
  targets, weights = rng.integers(0, 50, (3, 13)), rng.integers(0, 2, (3, 13)).astype(np.float32)

  def plain(x, table):
    logits = jnp.einsum('rmd,vd->rmv', x, table)
    logits = logits if softcap is None else softcap * jnp.tanh(logits / softcap)
    return 3 * (optax.softmax_cross_entropy_with_integer_labels(logits, targets) * weights).sum()

  def chunked(x, table):
    return 3 * loss_lib.summed_loss(x, table, targets, weights, softcap)

  monkeypatch.setattr(loss_lib, '_LOGITS_AT_ONCE', 3 * 5 * 50)
  monkeypatch.setattr(loss_lib, '_TARGETS_AT_ONCE', 1)
  made = str(jax.make_jaxpr(jax.value_and_grad(chunked))(x, table))
  assert 'f32[15,50]' in made and 'f32[39,50]' not in made
  assert chunked(x, table) == pytest.approx(float(plain(x, table)), rel=TOLERANCE)
  found, wanted = (jax.value_and_grad(f, (0, 1))(x, table) for f in (chunked, plain))
  assert_same((found[0] / wanted[0], found[1]), (1.0, wanted[1]))


@functools.cache
def on_eight_devices() -> dict:
  script = pathlib.Path(__file__).with_name('on_eight_devices.py')
  root = str(script.parents[2])
  environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'} | {'PYTHONPATH': root}
  done = subprocess.run(
    [sys.executable, script], env=environment, cwd=root, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize('mesh', ['data=2', 'fsdp=2', 'tensor=2', 'data=2 fsdp=2 tensor=2'])
def test_a_step_on_several_devices_equals_one_devices(mesh):
  """Loss and norm of two steps, each gradient of the first; state where the rules put it; 8 simulated devices."""
  one, found = on_eight_devices()['one'], on_eight_devices()[mesh]
  assert found['loss'] == pytest.approx(one['loss'], abs=TOLERANCE)
  assert found['grad_norm'] == pytest.approx(one['grad_norm'], rel=TOLERANCE)
  assert max(found['gradient_difference'].values()) < TOLERANCE, found['gradient_difference']
  assert found['misplaced'] == []
  assert found['split'] == (mesh != 'data=2')
