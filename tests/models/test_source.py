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
    ('google/gemma-2-2b', 'google/gemma-2-2b.: no such folder; give a folder, a \\*.gguf file, or hf:OWNER/NAME'),
    ('https://huggingface.co/google/gemma-2-2b', 'give a folder, a \\*.gguf file, or hf:OWNER/NAME'),
    ('', 'no such folder'),
    ('embedded:', 'models that ship with the package'),
    ('embedded:../wc', 'models that ship with the package'),
    (__file__, 'is a file, no such folder'),
    ('no/such/folder', 'no such folder; give a folder, a \\*.gguf file, or hf:OWNER/NAME'),
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


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('{"width": 4', r'config\.json: not JSON that can be read: EOF while parsing'),
    ('[1, 2]', r'config\.json: its root should be an object'),
    ('{"width": 4}', r"config\.json: field 'vocab_size' is missing"),
    ('{"model_type": "gemma2"}', r'its config\.json is Hugging Face.s, but there is no \*\.safetensors file'),
  ],
)
def test_a_config_that_is_none_is_named(folder, content, message):
  (folder / 'config.json').write_text(content)
  with pytest.raises(CheckpointError, match=message):
    open_model(str(folder))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'layers': 10**9}, 'layers=1000000000: should be less than or equal to 1000'),
    ({'width': '48'}, "width='48': should be a valid integer"),
    ({'width': True}, 'width=True: should be a valid integer'),
    ({'window': -1}, 'window=-1: should be greater than or equal to 1'),
    ({'attn_softcap': float('nan')}, 'attn_softcap=nan: should be a finite number'),
    ({'rope_base': 0.0}, r'rope_base=0\.0: should be greater than or equal to 1'),
    ({'heads': 3, 'kv_heads': 2}, 'heads=3 must be a multiple of kv_heads=2'),
    ({'pattern': ['sideways']}, r"pattern\.0='sideways': not supported, only 'local' or 'global'"),
    ({'experts': 8}, "field 'experts' is unknown"),
  ],
)
def test_a_field_of_the_wrong_type_or_out_of_its_range_is_named(folder, wc, change, message):
  (folder / 'config.json').write_text(json.dumps(dataclasses.asdict(wc[0].config) | change))
  with pytest.raises(CheckpointError, match=rf'config\.json: {message}'):
    open_model(str(folder))


def test_a_folder_that_is_no_model_is_named(tmp_path):
  with pytest.raises(CheckpointError, match=r'config\.json is missing; give a folder as docs/checkpoints\.md lists'):
    open_model(str(tmp_path))
  (tmp_path / 'x.gguf').touch()
  with pytest.raises(CheckpointError, match=r'config\.json is missing; give .*x\.gguf'):
    open_model(str(tmp_path))


def test_a_missing_tokenizer_is_named(folder):
  (folder / 'tokenizer.model').unlink()
  with pytest.raises(TokenizerError, match=r'tokenizer\.model'):
    open_model(str(folder))


def test_missing_parameters_are_named_when_they_are_read(folder):
  model = open_model(str(folder))
  assert isinstance(model.tokenizer, Tokenizer)
  with pytest.raises(CheckpointError, match='params: there is no checkpoint'):
    model.load(sharding.make_mesh())


def test_the_folder_of_a_fine_tuned_learner_is_the_checkpoint_that_was_chosen(tmp_path):
  small = open_model('embedded:student')
  save_model(tmp_path / 'rate_0.0025/best', small.config, small.load(sharding.make_mesh()), small.tokenizer)
  (tmp_path / 'selection.json').write_text('{"learning_rate": 0.0025}')
  assert open_model(str(tmp_path)).config == small.config
  (tmp_path / 'selection.json').write_text('{"learning_rate": 0.005}')
  with pytest.raises(CheckpointError, match=r'selection\.json: learning_rate=0\.005 names no checkpoint beside it'):
    open_model(str(tmp_path))
