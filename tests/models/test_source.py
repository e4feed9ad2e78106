from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES
from sweb_jax.models.source import open_model, save_model
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError
from sweb_jax.tasks import get


@pytest.mark.parametrize('name', ['wc', 'se', 'student'])
def test_the_embedded_models_open_and_know_the_embedded_task(name):
  model = open_model(f'embedded:{name}')
  params = model.load(sharding.make_mesh())
  assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
    lambda x: (x.shape, x.dtype), transformer.shapes(model.config)
  )
  assert model.config.parameters == sum(x.size for x in jax.tree.leaves(params))
  task = get('arithmetic')
  for p in task.problems('test', 5, 0):
    text = f'{task.prompt(p)} {p.solutions[0]}'
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


def test_the_embedded_models_are_weak_to_strong():
  sizes = [open_model(f'embedded:{name}').config.parameters for name in ('wc', 'se')]
  assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
  ('source', 'message'),
  [
    ('embedded:xl', "'embedded:xl': models that ship with the package are wc, se and student"),
    ('gguf:llama', "'gguf:llama': the only GGUF model known by name is gemma3_270m"),
    ('size:gemma9', "'size:gemma9': sizes are gemma_2b, .*gemma2_27b"),
    ('no/such/folder', r'no/such/folder/config\.json: not the config of a model folder'),
  ],
)
def test_an_unknown_model_is_named(source, message):
  with pytest.raises(CheckpointError, match=message):
    open_model(source)


def test_a_size_is_a_shape_without_weights():
  model = open_model('size:gemma2_9b')
  assert model.config == SIZES['gemma2_9b'] and model.tokenizer is None
  assert model.identity != open_model('size:gemma2_27b').identity
  for read in (lambda: model.load(sharding.make_mesh()), model.stored):
    with pytest.raises(CheckpointError, match="'size:gemma2_9b' is a shape without weights"):
      read()


@pytest.fixture(scope='module')
def wc():
  model = open_model('embedded:wc')
  return model, model.load(sharding.make_mesh())


def test_a_saved_model_folder_opens_as_the_same_model(tmp_path, wc):
  model, params = wc
  save_model(tmp_path / 'mine', model.config, params, model.tokenizer)
  back = open_model(str(tmp_path / 'mine'))
  assert back.config == model.config and back.tokenizer == model.tokenizer
  loaded = back.load(sharding.make_mesh())
  assert jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), loaded, params))


@pytest.fixture
def folder(tmp_path, wc):
  """A model folder without parameters: they are read on `load` only."""
  model, _ = wc
  model.tokenizer.save(tmp_path / 'tokenizer.model')
  (tmp_path / 'config.json').write_text(json.dumps(dataclasses.asdict(model.config)))
  return tmp_path


def test_a_tokenizer_of_another_model_is_refused(folder, wc):
  small = dataclasses.replace(wc[0].config, vocab_size=100)
  (folder / 'config.json').write_text(json.dumps(dataclasses.asdict(small)))
  with pytest.raises(CheckpointError, match='its tokenizer has 193 pieces, the model 100 rows'):
    open_model(str(folder))


def test_more_rows_than_pieces_are_fine(folder, wc):
  padded = dataclasses.replace(wc[0].config, vocab_size=256)
  (folder / 'config.json').write_text(json.dumps(dataclasses.asdict(padded)))
  assert open_model(str(folder)).config == padded


@pytest.mark.parametrize('content', ['{"width": 4', '[1, 2]', '{"width": 4}', '{"no_such_field": 1}'])
def test_a_config_that_is_none_is_named(folder, content):
  (folder / 'config.json').write_text(content)
  with pytest.raises(CheckpointError, match=r'config\.json: not the config of a model folder'):
    open_model(str(folder))


def test_a_missing_tokenizer_is_named(folder):
  (folder / 'tokenizer.model').unlink()
  with pytest.raises(TokenizerError, match=r'tokenizer\.model'):
    open_model(str(folder))


def test_missing_parameters_are_named_when_they_are_read(folder):
  model = open_model(str(folder))
  assert isinstance(model.tokenizer, Tokenizer)
  with pytest.raises(CheckpointError, match='params: there is no checkpoint'):
    model.load(sharding.make_mesh())
