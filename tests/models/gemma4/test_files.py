"""Gemma 3n and 4 in files: Hugging Face directories and Orbax folders, both ways, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import checkpoint, huggingface, sharding
from sweb_jax.models.checkpoint import path_name
from sweb_jax.models.gemma import huggingface_config
from sweb_jax.models.gemma4.config import SIZES
from sweb_jax.models.source import CheckpointError, check_model, save_model
from sweb_jax.models.tokenizer import Tokenizer, train_words

SMALL = runpy.run_path(str(pathlib.Path(__file__).with_name('small.py')))['SMALL']
TOLERANCE = 2e-4
"""Largest difference of a logit, float32; the logits' standard deviation is near 1."""

KINDS = pytest.mark.parametrize('kind', SMALL)


def params_of(kind: str):
  """Factors that are not 1, and 0 where nothing reads."""
  config, rng = SMALL[kind], np.random.default_rng(3)

  def one(path, x):
    name = path_name(path)
    if config.leaves[name].kind == 'idle':
      return jnp.zeros_like(x)
    # The library's router reads what this norm gives, transformers' what goes into it: with one factor for the whole
    # width both norm it to the same (docs/models.md).
    if kind == 'experts' and name.endswith('pre_ffw_norm/scale'):
      return 1.3 * x
    return x * (1 + 0.3 * rng.standard_normal(x.shape, np.float32)) if x.ndim == 1 else x

  return jax.tree.map_with_path(one, config.init(jax.random.key(1)))


@pytest.fixture(scope='module')
def tokenizer() -> Tokenizer:
  return Tokenizer.from_bytes(train_words([f'w{i}' for i in range(93)]))


def assert_equal(found, wanted) -> None:
  assert jax.tree.structure(found) == jax.tree.structure(wanted)
  for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_array_equal(a, b, err_msg=path_name(path))


@KINDS
def test_a_hugging_face_directory_comes_back_as_it_was(kind, tokenizer, tmp_path):
  config, params = SMALL[kind], params_of(kind)
  huggingface.save(tmp_path / 'hf', config, params, tokenizer, shard_bytes=100_000)
  model, stored = check_model(str(tmp_path / 'hf'))
  assert model.config == config
  idle = sum(x.size for path, x in jax.tree.leaves_with_path(params) if config.leaves[path_name(path)].kind == 'idle')
  assert stored == {'float32': config.parameters - idle}
  assert_equal(model.load(sharding.make_mesh()), params)


@KINDS
def test_a_model_folder_comes_back_as_it_was(kind, tokenizer, tmp_path):
  save_model(tmp_path / 'm', SMALL[kind], params_of(kind), tokenizer)
  model, stored = check_model(str(tmp_path / 'm'))
  assert model.config == SMALL[kind] and stored == {'float32': SMALL[kind].parameters}
  assert_equal(model.load(sharding.make_mesh()), params_of(kind))


def test_inspect_says_what_it_is_and_what_a_token_has_to_do_with(tokenizer, tmp_path, capsys):
  from absl import flags

  from sweb_jax.models.__main__ import main

  save_model(tmp_path / 'm', SMALL['experts'], params_of('experts'), tokenizer)
  flags.FLAGS.unparse_flags()
  main(flags.FLAGS(['models', 'inspect', str(tmp_path / 'm')]))
  out = capsys.readouterr().out
  config = SMALL['experts']
  counts = f'{config.parameters:,}, 4,656 of them embedding; a token has to do with {config.active_parameters:,}'
  for part in ('Gemma4, of no named size', 'window of 6', '6 of width 24, 2 a token', counts):
    assert part in out


def test_an_orbax_folder_in_the_flat_form_is_read(tmp_path):
  """As Kaggle's: 'transformer/layer_0/mlp/linear' for a key, with 'w' below it; experts have a 'w' by themselves."""
  params, flat = params_of('experts'), {}
  for path, x in jax.tree.leaves_with_path(params):
    name = path_name(path)
    *_, last = name.split('/')
    key, below = (name, 'w') if last in ('linear', 'gating_einsum') else name.rsplit('/', 1)
    flat.setdefault(f'transformer/{key}', {})[below] = x
  checkpoint.save(tmp_path / 'flat', flat)
  assert_equal(checkpoint.load(tmp_path / 'flat', SMALL['experts'], sharding.make_mesh()), params)


@pytest.mark.parametrize('name', SIZES)
def test_the_fields_of_each_size_come_back_from_config_json(name, tmp_path):
  size = SIZES[name]
  if size.final_softcap is None:
    with pytest.raises(CheckpointError, match='final_softcap=None'):
      huggingface_config.write(size)
    size = dataclasses.replace(size, final_softcap=30.0)
  (tmp_path / 'config.json').write_text(json.dumps(huggingface_config.write(size)))
  assert huggingface_config.read(tmp_path) == size


@pytest.mark.parametrize(
  ('kind', 'changes', 'message'),
  [
    ('dense', {'rms_norm_eps': 1e-5}, 'rms_norm_eps'),
    ('dense', {'use_bidirectional_attention': 'all'}, 'use_bidirectional_attention'),
    ('dense', {'layer_types': ['sliding_attention'] * 2}, 'layer_types: the last layer must be of full_attention'),
    ('dense', {'layer_types': ['full_attention']}, 'layer_types has 1 entries for num_hidden_layers=2'),
    ('dense', {'per_layer_config': {'0': {'head_dim': 8}}}, 'per_layer_config: the layers of full_attention, and no'),
    ('experts', {'top_k_experts': None}, 'chosen_experts=0 must be from 1 to experts=6'),
    ('by_layer', {'num_kv_shared_layers': 3}, 'shared_layers=3: the two layers before them'),
    ('by_layer', {'vocab_size_per_layer_input': 98}, 'vocab_size_per_layer_input=98 must not be above vocab_size=97'),
    ('gemma3n', {'altup_active_idx': 1}, 'altup_active_idx'),
    ('gemma3n', {'intermediate_size': [80, 80, 80, 96]}, 'intermediate_size must be the same in all layers'),
    ('gemma3n', {'model_type': 'gemma4_unified'}, 'Gemma 4 12B, which the gemma library has not'),
  ],
)
def test_fields_that_the_library_does_not_compute_are_refused_by_name(kind, changes, message, tmp_path):
  fields = huggingface_config.write(SMALL[kind])
  (tmp_path / 'config.json').write_text(json.dumps(fields | changes))
  with pytest.raises(CheckpointError, match=message):
    huggingface_config.read(tmp_path)


@pytest.mark.gemma4
@pytest.mark.slow
@KINDS
def test_logits_equal_those_of_transformers_and_its_own_directory_is_read(kind, tokenizer, tmp_path):
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  config, params = SMALL[kind], params_of(kind)
  huggingface.save(tmp_path / 'ours', config, params, tokenizer)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'ours', dtype=torch.float32, attn_implementation='eager'
  ).eval()
  tokens = np.random.default_rng(0).integers(3, config.vocab_size, (2, 20))
  with torch.no_grad():
    wanted = model(torch.from_numpy(tokens)).logits.numpy()
  found = np.asarray(jax.jit(config.forward)(params, tokens))
  assert wanted.std() > 0.3
  assert np.abs(found - wanted).max() < TOLERANCE
  model.save_pretrained(tmp_path / 'theirs')
  tokenizer.save(tmp_path / 'theirs/tokenizer.model')
  read, _ = check_model(str(tmp_path / 'theirs'))
  assert read.config == config
  assert_equal(read.load(sharding.make_mesh()), params)
