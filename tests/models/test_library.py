"""The gemma library's modules behind the protocol, and our forward against theirs on the same parameters.

`largest_difference(config, params)` is the whole comparison, for any checkpoint.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import pathlib
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import decoder, families, sharding
from sweb_jax.models.decoder import CachedDecoder, DecoderError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig
from sweb_jax.models.library import LibraryGemma
from sweb_jax.models.source import open_model
from sweb_jax.records import Example
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.tasks import get
from sweb_jax.tasks.rendering import Renderer
from tests import forked

TOLERANCE = 1e-4  # Largest difference of a logit, float32.

# Small, but every number that can be wrong is: caps that bite, a window shorter than the row, grouped heads.
GEMMA1 = ModelConfig(97, 48, 80, 3, 4, 4, 16, post_norms=False, transpose_gating=False)
GEMMA1_MULTI_QUERY = dataclasses.replace(GEMMA1, kv_heads=1)
GEMMA2 = ModelConfig(
  97, 48, 80, 3, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=2.0,
  query_scale=(48 / 4) ** -0.5,
)
GEMMA3 = ModelConfig(
  97, 48, 80, 4, 4, 1, 16, pattern=('local', 'local', 'global'), window=6, qk_norm=True, rope_base=1_000_000.0,
  rope_scale=8.0,
)


@functools.cache
def library(config: ModelConfig):
  pytest.importorskip('gemma')
  return families.implement(config, 'gemma')


def library_logits(config: ModelConfig, params, tokens: np.ndarray) -> np.ndarray:
  """The library's logits, [B, L, V]."""
  return np.asarray(jax.jit(library(config).forward)(params, tokens))


def our_logits(config: ModelConfig, params, tokens: np.ndarray) -> np.ndarray:
  forward = jax.jit(functools.partial(transformer.forward, config=config))
  return np.asarray(forward(params, tokens=jnp.asarray(tokens)))


def some_tokens(config: ModelConfig, batch: int = 3, length: int = 24) -> np.ndarray:
  return np.random.default_rng(0).integers(0, config.vocab_size, (batch, length))


def largest_difference(config: ModelConfig, params, tokens: np.ndarray | None = None) -> float:
  """Largest difference of a logit between our forward and the library's, over `tokens` [B, L] (random by default)."""
  tokens = some_tokens(config) if tokens is None else tokens
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  with jax.default_matmul_precision('highest'):
    return float(np.abs(our_logits(config, params, tokens) - library_logits(config, params, tokens)).max())


@functools.cache
def random_params(config: ModelConfig):
  """Our init with norms that are not 1 and sharp attention."""
  params = transformer.init(config, jax.random.key(1))
  leaves, tree = jax.tree.flatten_with_path(params)
  rng = np.random.default_rng(2)
  scaled = []
  for path, x in leaves:
    name = jax.tree_util.keystr(path)
    if 'norm' in name:
      x = x + 0.5 * rng.standard_normal(x.shape).astype(np.float32)
    elif 'q_einsum' in name or 'kv_einsum' in name:
      x = 2 * x
    scaled.append(x)
  return jax.tree.unflatten(tree, scaled)


@pytest.mark.slow
@pytest.mark.parametrize(
  'config', [GEMMA1, GEMMA1_MULTI_QUERY, GEMMA2, GEMMA3], ids=['gemma1', 'gemma1_multi_query', 'gemma2', 'gemma3']
)
def test_logits_equal_the_librarys(config):
  assert largest_difference(config, random_params(config)) < TOLERANCE


@pytest.mark.slow
def test_logits_of_the_embedded_weak_model_equal_the_librarys():
  """On texts of its task and on random ids, longer than its window."""
  model = open_model('embedded:wc')
  params = model.load(sharding.make_mesh())
  task, renderer = get('arithmetic'), Renderer(model.tokenizer)
  rows = [renderer.example(Example(p.id, task.prompt(p), p.solutions[0]))[0] for p in task.problems('test', 4, 0)]
  width = min(len(ids) for ids in rows)
  texts = np.asarray([ids[:width] for ids in rows])
  assert largest_difference(model.config, params, texts) < TOLERANCE
  assert largest_difference(model.config, params, some_tokens(model.config, 4, model.config.window + 8)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize('config', [GEMMA1, GEMMA1_MULTI_QUERY, GEMMA2, GEMMA3])
def test_the_librarys_own_init_gives_our_tree(config):
  tokens = jnp.asarray(some_tokens(config))
  theirs = jax.eval_shape(library(config).module.init, jax.random.key(0), tokens)['params']
  assert jax.tree.map(lambda x: (x.shape, x.dtype), dict(theirs)) == jax.tree.map(
    lambda x: (x.shape, x.dtype), transformer.shapes(config)
  )


def eager_logits(config: ModelConfig, params) -> np.ndarray:
  """Operation by operation: the configs of a test have nearly all of them in common, and their programs none."""
  return np.asarray(transformer.forward(params, config, some_tokens(config)))


@functools.cache
def right_logits(config: ModelConfig) -> np.ndarray:
  return eager_logits(config, random_params(config))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('config', 'change'),
  [
    (GEMMA2, {'attn_softcap': None}),
    (GEMMA2, {'final_softcap': None}),
    (GEMMA2, {'query_scale': None}),
    (GEMMA2, {'window': 7}),
    (GEMMA2, {'window': 5}),
    (GEMMA2, {'pattern': ('global', 'local')}),
    (GEMMA2, {'local_rope_base': 1_000_000.0}),
    (GEMMA3, {'rope_base': 10_000.0}),
    (GEMMA3, {'local_rope_base': 1_000_000.0}),
    (GEMMA3, {'rope_scale': 1.0}),
    (GEMMA3, {'qk_norm': False}),
    (GEMMA3, {'window': 7}),
    (GEMMA3, {'pattern': ('local',) * 4 + ('global',)}),
  ],
  ids=lambda x: '-'.join(x) if isinstance(x, dict) else None,
)
def test_each_number_changes_the_logits_by_far_more_than_the_tolerance(config, change):
  """What the comparison above would find: a wrong number is seen."""
  wrong = eager_logits(dataclasses.replace(config, **change), random_params(config))
  assert np.abs(wrong - right_logits(config)).max() > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in SIZES if not name.startswith('gemma_')])
def test_the_named_sizes_are_the_librarys(name):
  module = library(SIZES[name]).module
  from gemma import gm

  version, size = name.split('_')
  theirs = getattr(gm.nn, f'{version.capitalize()}_{size.upper()}').config
  assert dataclasses.replace(theirs, vision_encoder=None) == module.config


@pytest.mark.slow
@pytest.mark.parametrize('config', [GEMMA2, GEMMA3], ids=['gemma2', 'gemma3'])
@pytest.mark.parametrize('implementation', decoder.IMPLEMENTATIONS)
@pytest.mark.parametrize('samples', [1, 4], ids=['a prompt a row', 'shared prompts'])
def test_greedy_text_of_the_engine_is_the_argmax_of_the_librarys_uncached_forward(config, implementation, samples):
  """Ragged prompts after a shared prefix, more rows than slots, a window shorter than a row."""
  rng = np.random.default_rng(4)
  prefix = [2, *rng.integers(3, 97, 6).tolist()]
  prompts = [tuple(rng.integers(3, 97, n).tolist()) for n in (1, 33, 9, 17, 3)]
  # Rows of one problem end at different times, so that their slots are refilled one by one.
  requests = [Request(f'p{i}', j, p, limit=3 + 4 * j) for i, p in enumerate(prompts) for j in range(samples)]
  params = jax.tree.map(jnp.asarray, random_params(config))
  engine = Engine(
    library(config) if implementation == 'gemma' else config, sharding.make_mesh(), Rule(0.0), stop_ids=(),
    prompt_length=33, max_new_tokens=16, prefix=prefix, slots=4, steps=4,
  )  # fmt: skip
  completions = list(engine.run(params, requests, key=jax.random.key(0)))
  assert len(completions) == len(requests)
  rows = [(*prefix, *prompts[int(c.problem_id[1:])], *c.tokens) for c in completions]
  padded = np.asarray([[*r, *[0] * (60 - len(r))] for r in rows])
  best = library_logits(config, params, padded).argmax(-1)
  for c, row, choices in zip(completions, rows, best, strict=True):
    start = len(row) - len(c.tokens)
    assert len(c.tokens) == 3 + 4 * c.index
    assert list(c.tokens) == choices[start - 1 : len(row) - 1].tolist()
  assert len({t for c in completions for t in c.tokens}) > 5


@pytest.mark.slow
def test_the_librarys_decoder_has_the_facts_of_the_native_one_and_is_another():
  """Costs, shapes and names are the architecture's; compiled programs are told apart."""
  found = library(GEMMA3)
  assert isinstance(found, CachedDecoder) and found.implementation == 'gemma'
  assert found != GEMMA3 and found == families.implement(GEMMA3, 'gemma') and len({found, GEMMA3}) == 2
  for fact in ('parameters', 'active_parameters', 'matrix_parameters', 'attention', 'vocab_size', 'final_softcap'):
    assert getattr(found, fact) == getattr(GEMMA3, fact)
  assert families.implement(found, 'gemma') is found


@pytest.mark.slow
@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'norm_eps': 1e-5}, 'norm_eps=1e-05, and the gemma library has 1e-06 only'),
    ({'query_scale': 0.3}, r'query_scale=0\.3, .* here 0\.25 and 0\.288675; use implementation=native'),
  ],
)
def test_an_architecture_that_the_library_cannot_express_is_an_error_that_names_the_number(changes, message):
  with pytest.raises(DecoderError, match=f'implementation=gemma: {message}'):
    library(dataclasses.replace(GEMMA2, **changes))


@pytest.mark.slow
def test_a_rematerialisation_is_refused_by_the_librarys_modules():
  with pytest.raises(DecoderError, match=r"remat='dots': the implementation 'gemma' can do 'none', 'full'"):
    library(GEMMA2).hidden_states(random_params(GEMMA2), some_tokens(GEMMA2), remat='dots')


ADVICE = r'in Python 3\.1\d \(.*\); `pip install -c constraints/py31[12]\.txt gemma` installs versions that fit'


def test_a_library_that_is_not_there_is_an_error_that_says_how_to_install_it(monkeypatch):
  def no_package(_):
    raise importlib.metadata.PackageNotFoundError

  monkeypatch.setitem(sys.modules, 'gemma', None)
  monkeypatch.setattr(importlib.metadata, 'version', no_package)
  with pytest.raises(DecoderError, match=f'implementation=gemma: the gemma library is not installed {ADVICE}'):
    families.implement(GEMMA1, 'gemma')


def fields_of_old(num_embed, embed_dim, hidden_dim):
  """A config that knows a few fields."""


def no_hidden_states(config, dtype):
  """A module that gives logits alone."""

  def apply(variables, tokens, *, positions, attention_mask):
    return tokens

  return types.SimpleNamespace(apply=apply)


@pytest.mark.parametrize(
  ('nn', 'said'),
  [
    ({}, 'Transformer'),
    ({'Transformer': None, 'config': fields_of_old}, 'TransformerConfig'),
    ({'Transformer': no_hidden_states, 'TransformerConfig': fields_of_old}, 'unexpected keyword argument'),
    ({'Transformer': no_hidden_states, 'TransformerConfig': dict}, 'return_hidden_states'),
  ],
  ids=['no modules', 'no config', 'a config without the fields', 'modules without hidden states'],
)
def test_a_library_that_is_too_old_is_an_error_that_names_its_version_and_pythons(monkeypatch, nn, said):
  nn = dict(nn)
  if config := nn.pop('TransformerConfig', None):
    scales = types.SimpleNamespace(BY_ONE_OVER_SQRT_HEAD_DIM=1, BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS=2)
    nn['config'] = types.SimpleNamespace(TransformerConfig=config, QueryPreAttentionNormalisation=scales)
    nn['AttentionType'] = types.SimpleNamespace(LOCAL_SLIDING=1, GLOBAL=2)
  old = types.ModuleType('gemma')
  old.gm = types.SimpleNamespace(nn=types.SimpleNamespace(**nn))
  monkeypatch.setitem(sys.modules, 'gemma', old)
  monkeypatch.setattr(importlib.metadata, 'version', lambda name: {'gemma': '1.0'}[name])
  with pytest.raises(DecoderError, match=f'implementation=gemma: gemma 1.0 cannot be used {ADVICE}') as caught:
    families.implement(GEMMA1, 'gemma')
  assert re.search(said, str(caught.value)) and '\n' not in str(caught.value)


def test_the_librarys_decoder_is_not_asked_to_be_the_native_one():
  config = LibraryGemma(**dataclasses.asdict(GEMMA1))
  with pytest.raises(DecoderError, match='implementation=native: LibraryGemma is computed by the gemma library alone'):
    families.implement(config, 'native')


@pytest.fixture(scope='module')
def eight_devices() -> dict:
  pytest.importorskip('gemma')
  script = pathlib.Path(__file__).with_name('library_on_eight_devices.py')
  done = forked.run(script)
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


MESHES = pytest.mark.parametrize(
  ('shape', 'mesh'),
  [
    *(('gemma2', mesh) for mesh in ('data=8', 'fsdp=4 tensor=2', 'data=2 fsdp=2 tensor=2', 'data=2 tensor=4')),
    ('gemma3', 'data=2 fsdp=2 tensor=2'),
  ],
)


@pytest.mark.slow
@MESHES
def test_losses_and_gradients_on_eight_devices_equal_the_native_ones_on_one(eight_devices, shape, mesh):
  found = eight_devices[shape]
  assert found[mesh]['losses'] == pytest.approx(found['native']['losses'], abs=2e-5)
  assert max(found[mesh]['gradient_difference'].values()) < 2e-5


@pytest.mark.slow
@MESHES
def test_texts_on_eight_devices_equal_the_native_ones_on_one(eight_devices, shape, mesh):
  found, wanted = eight_devices[shape][mesh]['texts'], eight_devices[shape]['native']['texts']
  assert found == wanted
  assert all(len({t for *_, tokens in wanted[rule] for t in tokens}) > 10 for rule in ('greedy', 'drawn'))
