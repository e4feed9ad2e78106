from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import checkpoint, sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import ModelConfig

CONFIG = ModelConfig(31, 16, 24, 2, 2, 1, 8, qk_norm=True)


@functools.cache
def params() -> transformer.Params:
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32)), transformer.shapes(CONFIG))


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  path = tmp_path_factory.mktemp('checkpoint') / 'params'
  checkpoint.save(path, params())
  return path


def test_what_was_saved_is_loaded_bit_for_bit(saved):
  mesh = sharding.make_mesh()
  loaded = checkpoint.load(saved, CONFIG, mesh)
  assert jax.tree.structure(loaded) == jax.tree.structure(params())
  for x, y in zip(jax.tree.leaves(loaded), jax.tree.leaves(params()), strict=True):
    assert x.dtype == jnp.float32 and np.asarray(x).tobytes() == np.asarray(y).tobytes()
  assert jax.tree.map(lambda x: x.sharding, loaded) == sharding.for_params(loaded, mesh)


def test_a_parameter_larger_than_what_orbax_may_hold_goes_by_itself(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoint, '_CONCURRENT_GB', 1e-9)
  checkpoint.save(tmp_path / 'p', params())
  loaded = checkpoint.load(tmp_path / 'p', CONFIG, sharding.make_mesh())
  jax.tree.map(np.testing.assert_array_equal, loaded, params())


def test_a_checkpoint_saved_in_half_precision_loads_as_float32(tmp_path):
  checkpoint.save(tmp_path / 'half', params(), jnp.float16)
  loaded = checkpoint.load(tmp_path / 'half', CONFIG, sharding.make_mesh())
  for x, y in zip(jax.tree.leaves(loaded), jax.tree.leaves(params()), strict=True):
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x, np.asarray(y).astype(np.float16).astype(np.float32))


def test_a_second_save_replaces_the_first(tmp_path):
  checkpoint.save(tmp_path / 'p', params())
  other = jax.tree.map(lambda x: x + 1, params())
  checkpoint.save(tmp_path / 'p', other)
  loaded = checkpoint.load(tmp_path / 'p', CONFIG, sharding.make_mesh())
  np.testing.assert_array_equal(loaded['final_norm']['scale'], other['final_norm']['scale'])
  assert [p.name for p in tmp_path.iterdir()] == ['p']  # Nothing temporary is left.


@pytest.mark.parametrize(
  ('change', 'parameter', 'there', 'needed'),
  [
    ({'vocab_size': 32}, 'embedder/input_embedding', r'\(31, 16\)', r'\(32, 16\)'),
    ({'layers': 3}, 'layer_2/attn/_key_norm/scale', 'None', r'\(8,\)'),
    ({'layers': 1}, 'layer_1/attn/_key_norm/scale', r'\(8,\)', 'None'),
    ({'qk_norm': False}, 'layer_0/attn/_key_norm/scale', r'\(8,\)', 'None'),
    ({'kv_heads': 2}, 'layer_0/attn/kv_einsum/w', r'\(2, 1, 16, 8\)', 'None'),
    ({'transpose_gating': False}, 'layer_0/mlp/gating_einsum', r'\(2, 24, 16\)', r'\(2, 16, 24\)'),
  ],
  ids=lambda x: '-'.join(x) if isinstance(x, dict) else '',
)
def test_another_architecture_is_refused_with_the_first_parameter_that_differs(
  saved, change, parameter, there, needed
):
  with pytest.raises(CheckpointError, match=f'params: parameter {parameter} has shape {there}, .* needs {needed}'):
    checkpoint.load(saved, dataclasses.replace(CONFIG, **change), sharding.make_mesh())


def test_a_missing_checkpoint_is_named(tmp_path):
  with pytest.raises(CheckpointError, match='nowhere: there is no checkpoint'):
    checkpoint.load(tmp_path / 'nowhere', CONFIG, sharding.make_mesh())


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path):
  (tmp_path / 'readme.txt').write_text('text')
  with pytest.raises(CheckpointError, match='not an Orbax checkpoint, or a torn one'):
    checkpoint.load(tmp_path, CONFIG, sharding.make_mesh())


def test_a_checkpoint_whose_description_is_torn_is_named(saved, tmp_path):
  import shutil

  shutil.copytree(saved, tmp_path / 'torn')
  file = tmp_path / 'torn/_METADATA'
  file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  with pytest.raises(CheckpointError, match='torn: not an Orbax checkpoint, or a torn one'):
    checkpoint.load(tmp_path / 'torn', CONFIG, sharding.make_mesh())
