"""Loss and gradients: packed or not, in chunks or not, recomputed or not, on one device or eight."""

from __future__ import annotations

import functools
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sweb_jax import config as config_lib
from sweb_jax.models import sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig
from sweb_jax.models.source import open_model
from sweb_jax.records import Example
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import Lora, Optimizer, Packer
from sweb_jax.training import lora as lora_lib
from sweb_jax.training import loss as loss_lib
from sweb_jax.training.data import Batch, examples_at
from sweb_jax.training.step import mean_loss, merge_adapters, offload_to_host, restore_to_device, start, train_step
from tests import forked

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


@pytest.mark.parametrize('remat', ['dots', 'full'])
def test_recomputed_blocks_in_a_loop_give_the_same_gradients(remat):
  """Two rounds of a pattern of two, and a layer over."""
  config = ModelConfig(193, 16, 32, 5, 2, 1, 8, pattern=('local', 'global'), window=6, attn_softcap=5.0)
  params = transformer.init(config, jax.random.key(0))
  found, wanted = (
    jax.jit(jax.value_and_grad(functools.partial(mean_loss, config=config, remat=how)))(params, packed())
    for how in (remat, 'none')
  )
  assert_same(found, wanted)


def test_with_dots_the_backward_pass_makes_no_product_again():
  config = ModelConfig(193, 16, 32, 5, 2, 1, 8, pattern=('local', 'global'), window=6, attn_softcap=5.0)
  params = transformer.init(config, jax.random.key(0))

  def products(how: str) -> int:
    loss = functools.partial(mean_loss, config=config, remat=how)
    return str(jax.make_jaxpr(jax.grad(loss))(params, packed())).count('dot_general[')

  # Three layers are traced, two in a loop and one after it. In each: queries, keys and values; scores and their sum of
  # values, in one block; attention's output; gate, up and down.
  assert products('full') - products('dots') == 3 * (3 + 2 + 1 + 3)


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
  assert 'HIGHEST' in made  # Of the sum of exponentials: elsewhere than on CPU a product rounds what it is given.
  assert chunked(x, table) == pytest.approx(float(plain(x, table)), rel=TOLERANCE)
  found, wanted = (jax.value_and_grad(f, (0, 1))(x, table) for f in (chunked, plain))
  assert_same((found[0] / wanted[0], found[1]), (1.0, wanted[1]))


@functools.cache
def on_eight_devices() -> dict:
  done = forked.run(pathlib.Path(__file__).with_name('on_eight_devices.py'))
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
  'mesh', ['data=2', 'fsdp=2', 'tensor=2', 'data=4', 'fsdp=8', 'tensor=4', 'data=2 fsdp=2 tensor=2']
)
def test_a_step_on_several_devices_equals_one_devices(mesh):
  """Loss and norm of two steps, each gradient of the first; state where the rules put it; 8 simulated devices."""
  one, found = on_eight_devices()['one'], on_eight_devices()[mesh]
  assert found['loss'] == pytest.approx(one['loss'], abs=TOLERANCE)
  assert found['grad_norm'] == pytest.approx(one['grad_norm'], rel=TOLERANCE)
  assert max(found['gradient_difference'].values()) < TOLERANCE, found['gradient_difference']
  assert found['misplaced'] == []
  assert found['split'] == ('fsdp' in mesh or 'tensor' in mesh)


@pytest.mark.slow
@pytest.mark.parametrize('how', ['adamw', 'lora'])
def test_a_run_saved_on_one_device_goes_on_on_eight(how):
  """Both in two parts a batch. Adam divides by small numbers: differences of the sums' order grow."""
  assert on_eight_devices()['moved'][how] < 1e-3


# Parts, optimisers, dtypes, adapters ----------------------------------------------------------------------------------


def steps(optimizer: Optimizer, count: int = 1, batch: Batch | None = None):
  """Plain parameters after some steps on one batch, and what each step measured."""
  config, params, _ = wc()
  mesh, measured = sharding.make_mesh(), []
  state = start(params, optimizer, mesh)
  for _ in range(count):
    state, m = train_step(
      state, batch or packed(), 1e-3, None if optimizer.lora is None else params, config=config, optimizer=optimizer,
      mesh=mesh,
    )  # fmt: skip
    measured.append(jax.device_get(m))
  return jax.device_get(merge_adapters(state.params, params, optimizer)), measured, state


@pytest.mark.parametrize('parts', [2, 8])
def test_a_batch_in_parts_gives_the_loss_and_gradients_of_the_whole(parts):
  """Parts have unequal numbers of targets, and one padding row has none."""
  assert len({row.sum() for row in one_a_row().weights}) > 1
  batch = Batch(*(np.concatenate([a, 0 * a]) for a in one_a_row()))
  # After a step from zero, with b1 = .5, Adam's first moment is half the gradient.
  how = dict(b1=0.5, clip_norm=1e9)
  whole, found = (steps(Optimizer(micro_batches=n, **how), batch=batch) for n in (1, parts))
  assert found[1][0].grad_norm == pytest.approx(whole[1][0].grad_norm, rel=TOLERANCE)
  assert_same((found[1][0].loss, found[2].opt_state[1].mu), (whole[1][0].loss, whole[2].opt_state[1].mu))


@pytest.mark.parametrize(
  'optimizer',
  [Optimizer('adafactor'), Optimizer(dtype='bfloat16'), Optimizer(lora=Lora(4, 8.0, 'attn|mlp'))],
  ids=['adafactor', 'bfloat16', 'lora'],
)
def test_the_loss_falls(optimizer):
  params, measured, state = steps(optimizer, 12)
  assert measured[-1].loss < 0.95 * measured[0].loss
  assert measured[0].loss == pytest.approx(float(reference()[0]), rel=2e-2)
  assert {x.dtype for x in jax.tree.leaves((params, state.params))} == {np.dtype('float32')}


def test_what_is_put_aside_lies_with_the_host_and_comes_back_though_the_original_was_donated():
  params = sharding.place(wc()[1], sharding.make_mesh())
  kept = offload_to_host(params)
  assert {x.sharding.memory_kind for x in jax.tree.leaves(kept)} == {'pinned_host'}
  jax.jit(lambda t: jax.tree.map(jnp.zeros_like, t), donate_argnums=0)(params)
  for x, wanted in zip(jax.tree.leaves(restore_to_device(kept)), jax.tree.leaves(wc()[1]), strict=True):
    assert x.sharding.memory_kind == 'device' and np.array_equal(x, wanted)


def test_adafactor_keeps_less_than_adamw():
  shapes = {'w': jax.ShapeDtypeStruct((256, 512), np.float32)}
  sizes = [
    sum(x.size for x in jax.tree.leaves(jax.eval_shape(Optimizer(name).transform.init, shapes)))
    for name in ('adafactor', 'adamw')
  ]
  assert sizes[0] < 1000 < 2 * 256 * 512 <= sizes[1]


@pytest.mark.parametrize('targets', ['attn', 'q_einsum|mlp/linear', 'layer_1/mlp/gating'])
def test_merged_adapters_give_the_logits_of_the_adapted_model(targets):
  """Against adapters applied to activations, not to weights; what is not named stays as it was, to the bit."""
  lora = Lora(3, 6.0, targets)
  merged, _, state = steps(Optimizer(lora=lora), 3)
  before = jax.device_get(wc()[1])
  changed = {
    jax.tree_util.keystr(path, simple=True, separator='/')
    for (path, a), b in zip(jax.tree.leaves_with_path(merged), jax.tree.leaves(before), strict=True)
    if a.tobytes() != b.tobytes()
  }
  names = [
    jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in jax.tree.leaves_with_path(before)
  ]
  assert changed == {n for n in names if re.search(targets, n)}
  assert sum(x.size for x in jax.tree.leaves(state.params)) < 0.5 * sum(x.size for x in jax.tree.leaves(before))
  if targets == 'q_einsum|mlp/linear':
    a, b = (np.asarray(x) for x in state.params['layer_0']['mlp']['linear'].values())
    x = np.random.default_rng(0).standard_normal((5, a.shape[0]), np.float32)
    np.testing.assert_allclose(
      x @ merged['layer_0']['mlp']['linear'], x @ before['layer_0']['mlp']['linear'] + 2.0 * (x @ a) @ b, atol=1e-5
    )


def test_fresh_adapters_change_nothing():
  config, params, _ = wc()
  lora = Lora(4, 8.0, 'attn|mlp')
  merged = lora_lib.merge(params, lora_lib.init(params, lora, jax.random.key(1)), lora)
  forward = jax.jit(transformer.forward, static_argnums=1)
  tokens = packed().tokens
  assert np.array_equal(forward(merged, config, tokens), forward(params, config, tokens))


@pytest.mark.parametrize(
  ('targets', 'message'), [('nothing', 'found in no name; names end in .*attn/q_einsum/w'), ('norm', 'no projection')]
)
def test_adapters_on_nothing_or_on_a_norm_are_refused(targets, message):
  with pytest.raises(lora_lib.LoraError, match=message):
    lora_lib.init(wc()[1], Lora(2, 2.0, targets), jax.random.key(0))


@pytest.mark.parametrize('size', sorted(SIZES))
def test_adapters_go_on_every_projection_by_default(size):
  targets = config_lib.default().train.lora.targets
  shapes = transformer.shapes(SIZES[size])
  found = jax.eval_shape(lambda params: lora_lib.init(params, Lora(2, 2.0, targets), jax.random.key(0)), shapes)
  assert set(found['layer_0']['attn']) == {k for k in shapes['layer_0']['attn'] if 'norm' not in k}
  assert set(found['layer_0']['mlp']) == {'gating_einsum', 'linear'}
  assert len(found) == SIZES[size].layers
