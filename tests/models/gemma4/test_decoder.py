"""Gemma 3n and 4 by the gemma library: texts of the engine, training, sharding and costs, for a small one of each kind.

The reference is the library's own forward pass, uncached and over one text at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import runpy
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.budget.flops import read_flops
from sweb_jax.models import sharding
from sweb_jax.models.checkpoint import needed, path_name
from sweb_jax.models.decoder import CachedDecoder
from sweb_jax.models.gemma4.config import SIZES
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.training import Lora, Optimizer, Packer
from sweb_jax.training.step import mean_loss, merge_adapters, start, train_step
from tests import forked

FOLDER = pathlib.Path(__file__).parent
SMALL = runpy.run_path(str(FOLDER / 'small.py'))['SMALL']
TOLERANCE = 5e-5
"""Of the loss, and of each gradient relative to the largest of its parameter, or to a hundredth of the largest of all
where that is more (the last layer's scale has none but rounding, as a norm comes after it); float32. On eight devices
a parameter of one number is relative to a tenth of the largest of all: on_eight_devices.py says why."""

pytestmark = [pytest.mark.gemma4, pytest.mark.slow]
KINDS = pytest.mark.parametrize('kind', SMALL)


@functools.cache
def params_of(kind: str):
  """Our init with factors that are not 1."""
  rng = np.random.default_rng(2)
  return jax.tree.map(
    lambda x: x + 0.3 * rng.standard_normal(x.shape, np.float32) if x.ndim == 1 else x,
    SMALL[kind].init(jax.random.key(1)),
  )


@functools.cache
def forward(kind: str):
  return jax.jit(SMALL[kind].forward)


@KINDS
def test_the_librarys_own_init_gives_our_tree(kind):
  config = SMALL[kind]
  theirs = jax.eval_shape(config.module.init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32))['params']
  assert needed(config) == {path_name(k): x.shape for k, x in jax.tree.leaves_with_path(dict(theirs))}
  assert config.parameters == sum(x.size for x in jax.tree.leaves(theirs))
  assert isinstance(config, CachedDecoder)


@pytest.mark.parametrize('name', SIZES)
def test_the_named_sizes_are_the_librarys(name):
  from gemma import gm

  version, _, size = name.partition('_')
  theirs = getattr(gm.nn, f'{version.capitalize()}_{size.upper()}').config
  ours = SIZES[name].module.config
  # The share of layers is rounded by the library: what comes of it is compared.
  pattern = sys.modules[type(theirs).__module__].create_kv_cache_sharing_patterns
  shared = [pattern(c.kv_cache_sharing_config, c.num_layers, c.attention_types) for c in (theirs, ours)]
  assert shared[0] == shared[1] == [SIZES[name].source(layer) for layer in range(SIZES[name].layers)]
  left_out = {'vision_encoder': None, 'kv_cache_sharing_config': None}
  if version == 'gemma4':
    left_out |= {'audio_encoder': None, 'num_global_kv_heads': None, 'use_bidirectional_attention': None}
    kv_heads = theirs.num_global_kv_heads or theirs.num_kv_heads
    assert ours.num_global_kv_heads == kv_heads
  if not theirs.kv_cache_sharing_config:
    assert ours.kv_cache_sharing_config is None
  if version == 'gemma4' and not theirs.enable_moe:
    left_out |= {'top_k_experts': 0}
  assert dataclasses.replace(ours, **left_out) == dataclasses.replace(theirs, **left_out)


@KINDS
def test_greedy_text_of_the_engine_is_the_argmax_of_the_librarys_uncached_forward(kind):
  """Ragged prompts after a prefix, more rows than slots, so that slots are refilled; windows shorter than a row."""
  config, params = SMALL[kind], params_of(kind)
  rng = np.random.default_rng(4)
  prefix = [2, *rng.integers(3, 97, 6).tolist()]
  prompts = [tuple(rng.integers(3, 97, n).tolist()) for n in (1, 23, 9, 17, 3)]
  requests = [Request(f'p{i}', j, p, limit=3 + 4 * j) for i, p in enumerate(prompts) for j in range(3)]
  engine = Engine(
    config, sharding.make_mesh(), Rule(0.0), stop_ids=(), prompt_length=23, max_new_tokens=12, prefix=prefix, slots=4,
    steps=4,
  )  # fmt: skip
  completions = list(engine.run(params, requests, key=jax.random.key(0)))
  assert len(completions) == len(requests)
  rows = [(*prefix, *prompts[int(c.problem_id[1:])], *c.tokens) for c in completions]
  for c, row in zip(completions, rows, strict=True):
    padded = np.asarray([[*row, *[0] * (48 - len(row))]])
    choices = forward(kind)(params, padded)[0].argmax(-1)
    begin = len(row) - len(c.tokens)
    assert len(c.tokens) == 3 + 4 * c.index
    assert list(c.tokens) == choices[begin - 1 : len(row) - 1].tolist()
  assert len({t for c in completions for t in c.tokens}) > 5


def rendered() -> list[tuple[tuple[int, ...], int]]:
  rng = np.random.default_rng(0)
  return [((2, *rng.integers(4, 97, n).tolist(), 1), n // 2) for n in (4, 13, 9, 17, 6, 11)]


def packed():
  return Packer(rendered(), batch=6, steps=1, seed=0, row_length=32).batch(0)


@KINDS
def test_loss_and_gradients_of_packed_rows_are_those_of_the_examples_alone(kind):
  config, params, batch = SMALL[kind], params_of(kind), packed()
  assert batch.segment_ids.max() > 1 and (batch.segment_ids == 0).any()
  width = max(len(ids) for ids, _ in rendered())
  rows = np.asarray([[*ids, *[0] * (width - len(ids))] for ids, _ in rendered()])
  at = np.asarray([begin <= i < len(ids) for ids, begin in rendered() for i in range(width)]).reshape(rows.shape)

  def alone(params):
    logprobs = jax.nn.log_softmax(config.forward(params, rows))
    losses = -jnp.take_along_axis(logprobs[:, :-1], rows[:, 1:, None], axis=-1)[..., 0]
    return (losses * at[:, 1:]).sum() / at[:, 1:].sum()

  def together(params):
    return mean_loss(params, batch, config)

  (loss, grads), (wanted, wanted_grads) = (jax.jit(jax.value_and_grad(f))(params) for f in (together, alone))
  assert float(loss) == pytest.approx(float(wanted), abs=TOLERANCE)
  least = 1e-2 * max(np.abs(b).max() for b in jax.tree.leaves(wanted_grads))
  for (path, a), b in zip(jax.tree.leaves_with_path(grads), jax.tree.leaves(wanted_grads), strict=True):
    atol = TOLERANCE * max(np.abs(b).max(), least)
    np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=path_name(path))
    assert np.isfinite(a).all()
    assert config.leaves[path_name(path)].kind != 'idle' or not a.any()
  wrong = batch._replace(segment_ids=np.minimum(batch.segment_ids, 1))
  assert abs(mean_loss(params, wrong, config) - wanted) > 50 * TOLERANCE  # What one wrong mask would change.


@KINDS
def test_layers_computed_again_backward_give_the_same_gradients(kind):
  config, batch = SMALL[kind], packed()
  (loss, grads), (wanted, wanted_grads) = (
    jax.jit(jax.value_and_grad(functools.partial(mean_loss, config=config, remat=remat)))(params_of(kind), batch)
    for remat in ('full', 'none')
  )
  assert float(loss) == pytest.approx(float(wanted), abs=TOLERANCE)
  least = 1e-2 * max(np.abs(b).max() for b in jax.tree.leaves(wanted_grads))
  for (path, a), b in zip(jax.tree.leaves_with_path(grads), jax.tree.leaves(wanted_grads), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * max(np.abs(b).max(), least), err_msg=path_name(path))


ADAPTERS = Lora(4, 8.0, 'einsum|linear')


@pytest.mark.parametrize(
  ('kind', 'adapters'), [*((kind, None) for kind in SMALL), ('experts', ADAPTERS), ('gemma3n', ADAPTERS)]
)
def test_training_lowers_the_loss(kind, adapters):
  config, params, mesh = SMALL[kind], params_of(kind), sharding.make_mesh()
  optimizer = Optimizer(lora=adapters)
  state, losses = start(params, optimizer, mesh), []
  for _ in range(8):
    state, metrics = train_step(
      state, packed(), np.float32(1e-2), params if adapters else None, config=config, optimizer=optimizer, mesh=mesh
    )
    losses.append(float(metrics.loss))
  assert losses[-1] < 0.8 * losses[0]
  trained = merge_adapters(state.params, params, optimizer)
  assert jax.tree.map(jnp.shape, trained) == jax.tree.map(jnp.shape, params)


WIDE = {
  'dense': dict(width=256, hidden=1024, head_width=64, global_head_width=128, vocab_size=512),
  'by_layer': dict(
    width=256, hidden=1024, shared_hidden=2048, head_width=64, global_head_width=128, vocab_size=512, per_layer_width=64
  ),
  'experts': dict(width=256, hidden=512, head_width=64, global_head_width=128, vocab_size=512, expert_hidden=256),
  'gemma3n': dict(width=512, hidden=4096, head_width=64, vocab_size=512, per_layer_width=64, laurel_rank=16),
}


@KINDS
def test_the_forward_pass_is_within_5_percent_of_xlas_count(kind):
  """Wide, so that the matrices outweigh what is left out; as many tokens as all layers see."""
  config, length = dataclasses.replace(SMALL[kind], **WIDE[kind], window=64), 16
  tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
  analysis = jax.jit(config.forward).lower(config.shapes(), tokens).compile().cost_analysis()
  xla = (analysis[0] if isinstance(analysis, list) else analysis)['flops']
  ours = read_flops(config, 0, length) + length * 2 * config.embedding_parameters
  if kind == 'experts':
    # On a CPU each chosen row goes through every expert, and all but its own are masked.
    chosen = config.chosen_experts * 3 * config.expert_hidden * config.width * config.layers
    ours += (config.experts - 1) * 2 * chosen * length
  assert ours == pytest.approx(xla, rel=0.05)


@pytest.fixture(scope='module')
def eight_devices() -> dict:
  done = forked.run(FOLDER / 'on_eight_devices.py')
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


@KINDS
def test_losses_gradients_and_texts_on_eight_devices_are_those_of_one(eight_devices, kind):
  """Along data, fsdp and tensor."""
  found, wanted = eight_devices[kind]['eight'], eight_devices[kind]['one']
  assert found['losses'] == pytest.approx(wanted['losses'], abs=TOLERANCE)
  assert max(found['gradient_difference'].values()) < TOLERANCE
  assert found['texts'] == wanted['texts']
  assert len({t for *_, tokens in wanted['texts'] for t in tokens}) > 4
  assert found['split'] > 0.9 * found['parameters']
