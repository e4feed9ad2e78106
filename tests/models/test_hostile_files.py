"""Damaged and hostile model files: each ends in one sentence, at once and in little memory, whatever is in it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import struct
import time
import tracemalloc
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweb_jax.models import huggingface, source
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.sharding import make_mesh
from sweb_jax.models.source import check_model, open_model

SECONDS, MEGABYTES = 20.0, 50  # CPU seconds and memory of a refusal: what grows without bound takes more.
CONFIG = ModelConfig(
  193, 32, 48, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=50.0, final_softcap=30.0
)
FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(where: str | pathlib.Path, megabytes: float = MEGABYTES) -> str:
  """The message of a refusal; fails where it took long or much memory, or was no single line."""
  begun = time.thread_time()
  with pytest.raises(CheckpointError):
    check_model(str(where))
  seconds = time.thread_time() - begun
  tracemalloc.start()  # Which takes time itself.
  try:
    with pytest.raises(CheckpointError) as error:
      check_model(str(where))
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  message = str(error.value)
  assert seconds < SECONDS and peak < megabytes * 1e6, (seconds, peak, message)
  assert '\n' not in message and len(message) < 1000
  return message


@pytest.fixture(scope='module', autouse=True)
def warm():
  """What a first call imports and traces is no part of a refusal."""
  check_model('embedded:wc')


def hugging_face(folder: pathlib.Path) -> pathlib.Path:
  params = jax.tree.map(lambda x: np.full(x.shape, 0.1, np.float32), transformer.shapes(CONFIG))
  huggingface.save(folder, CONFIG, params, open_model('embedded:wc').tokenizer)
  return folder


@pytest.fixture(scope='module')
def good(tmp_path_factory):
  """A sound model in each form; never written to."""
  root = tmp_path_factory.mktemp('good')
  shutil.copytree(source._EMBEDDED / 'wc', root / 'orbax')
  hugging_face(root / 'hf')
  for name in ('orbax', 'hf'):
    check_model(str(root / name))
  return root


@pytest.fixture
def model(good, tmp_path):
  """A copy of all of them."""
  shutil.copytree(good, tmp_path / 'x')
  return tmp_path / 'x'


def edit(path: pathlib.Path, **changes: Any) -> None:
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
  'name',
  ['hf/config.json', 'hf/model.safetensors', 'hf/tokenizer.model', 'hf/model.safetensors.index.json',
   'orbax/config.json', 'orbax/tokenizer.model', 'orbax/params/_METADATA', 'orbax/params/manifest.ocdbt',
   'orbax/params/_CHECKPOINT_METADATA'],
)  # fmt: skip
@pytest.mark.parametrize('kind', ['pipe', 'device'])
def test_a_pipe_or_a_device_in_place_of_a_file_is_refused_and_never_opened(name, kind, model):
  if name.endswith('index.json'):
    (model / 'hf/model.safetensors').rename(model / 'hf/other.safetensors')
  (model / name).unlink(missing_ok=True)
  if kind == 'pipe':
    os.mkfifo(model / name)
  else:
    (model / name).symlink_to('/dev/zero')
  assert f'{pathlib.Path(name).name}: is a pipe or a device, where a file is due' in refused(model / name.split('/')[0])


def test_a_folder_that_is_a_pipe_is_refused(tmp_path):
  os.mkfifo(tmp_path / 'x')
  assert 'is a file, no such folder' in refused(tmp_path / 'x')


def test_a_layer_count_of_a_billion_is_refused_in_every_form(model):
  edit(model / 'hf/config.json', num_hidden_layers=10**9, layer_types=None)
  assert 'num_hidden_layers=1000000000' in refused(model / 'hf')
  edit(model / 'orbax/config.json', layers=10**9)
  assert 'layers=1000000000' in refused(model / 'orbax')


def test_sizes_that_no_file_holds_are_refused_by_the_headers(model):
  edit(model / 'hf/config.json', num_hidden_layers=1000, layer_types=None)
  assert 'tensor model.layers.2.' in refused(model / 'hf')
  edit(model / 'orbax/config.json', layers=1000, width=2**24)
  assert 'the architecture needs' in refused(model / 'orbax')


@pytest.mark.parametrize('nested', [b'[' * 90_000, b'{"a":' * 90_000, b'{"x":{"shape":' + b'[' * 90_000])
def test_json_nested_too_deeply_is_refused(nested, model):
  for name in ('hf/config.json', 'orbax/config.json'):
    (model / name).write_bytes(nested)
    assert 'not JSON that can be read: recursion limit' in refused((model / name).parent)
  shutil.copy(model.parent / 'x/hf/tokenizer.model', model / 'tokenizer.model')
  hugging_face(model / 'hf2')
  (model / 'hf2/model.safetensors').write_bytes(struct.pack('<Q', len(nested)) + nested)
  assert 'recursion limit' in refused(model / 'hf2')
  (model / 'hf2/model.safetensors').rename(model / 'hf2/a.safetensors')
  (model / 'hf2/model.safetensors.index.json').write_bytes(nested)
  assert 'recursion limit' in refused(model / 'hf2')


def header(path: pathlib.Path) -> tuple[dict[str, Any], bytes]:
  content = path.read_bytes()
  end = 8 + struct.unpack('<Q', content[:8])[0]
  return json.loads(content[8:end]), content[end:]


def with_header(path: pathlib.Path, said: Any, data: bytes) -> None:
  text = json.dumps(said).encode()
  path.write_bytes(struct.pack('<Q', len(text)) + text + data)


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('shape', 'text', r"shape='text': should be a valid list"),
    ('shape', ['32'], r"shape\.0='32': should be a valid integer"),
    ('shape', [-32], r'shape\.0=-32: should be greater than or equal to 0'),
    ('shape', [2**62, 2**62], r'shape\.0=\d+: should be less than'),
    ('shape', [1] * 100_000, 'List should have at most 8 items'),
    ('shape', [31], r'of shape \(31,\) and type F32 has 128 bytes'),
    ('dtype', None, 'dtype=None: should be a valid string'),
    ('dtype', 'X' * 10**6, 'is of type'),
    ('data_offsets', [0], 'should have at least 2 items'),
    ('data_offsets', [128, 0], 'begins at byte|has -128 bytes|ends at'),
    ('data_offsets', [0, float('nan')], r'data_offsets\.1=nan: should be a valid integer'),
    ('data_offsets', [0, 10**18], 'should be less than'),
  ],
)
def test_a_header_of_safetensors_that_cannot_be_is_refused(field, value, message, model):
  path = model / 'hf/model.safetensors'
  said, data = header(path)
  said['model.norm.weight'][field] = value
  with_header(path, said, data)
  with pytest.raises(CheckpointError, match=message):
    check_model(str(model / 'hf'))
  refused(model / 'hf')


def test_files_that_are_longer_or_shorter_than_their_headers_are_refused(model):
  path = model / 'hf/model.safetensors'
  content = path.read_bytes()
  for change, message in [
    (content[:-1], 'truncated: tensor'),
    (content + b'\0', 'its tensors end at byte'),
    (b'', 'truncated, or no safetensors file: it has 0 bytes'),
    (content[:7], 'truncated, or no safetensors file'),
    (struct.pack('<Q', 2**63) + content[8:], 'truncated, or no safetensors file'),
  ]:
    path.write_bytes(change)
    assert message in refused(model / 'hf')
  with path.open('wb') as f:
    f.write(struct.pack('<Q', 10**9))
    f.truncate(2 * 10**9)
  assert 'its header has 1,000,000,000 bytes' in refused(model / 'hf')


def test_files_as_large_as_they_may_be_are_refused_in_time(model):
  """The libraries parse all of it; the memory is that of some hundred thousand Python objects."""
  said = {f't{i}': {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]} for i in range(45_000)}
  with_header(model / 'hf/model.safetensors', said, b'')
  path = model / 'hf/model.safetensors'
  assert 2.5e6 < path.stat().st_size < 3.1e6
  assert 'it has 45,000 tensors, above 20,000' in refused(model / 'hf')
  (model / 'orbax/params/_METADATA').write_text(json.dumps({'tree_metadata': {str(i): {} for i in range(60_000)}}))
  assert 'torn' in refused(model / 'orbax', megabytes=300)


def test_a_truncated_or_missing_data_file_of_orbax_is_found_without_reading_it(model):
  (largest,) = sorted((model / 'orbax/params').glob('*/d/*'), key=lambda f: f.stat().st_size)[-1:]
  largest.write_bytes(largest.read_bytes()[:-5000])
  assert f'{largest.name} ends at byte' in refused(model / 'orbax')
  largest.unlink()
  assert f'{largest.name}: no such file' in refused(model / 'orbax')


def test_what_else_an_orbax_folder_may_hold_is_checked(model, tmp_path):
  import orbax.checkpoint as ocp

  sizes = {'embedder': {'input_embedding': np.zeros((4, 3), np.int8)}}
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False)) as checkpointer:
    checkpointer.save(tmp_path / 'int8', sizes)
    shutil.rmtree(model / 'orbax/params')
    checkpointer.save(model / 'orbax/params', jax.tree.map(np.asarray, open_model('embedded:wc').load(make_mesh())))
  check_model(str(model / 'orbax'))  # Arrays in files of their own, without an index of pieces.
  (model / 'orbax/params/dangling').symlink_to('nowhere')
  assert 'dangling: no such file' in refused(model / 'orbax')
  shutil.rmtree(model / 'orbax/params')
  shutil.move(tmp_path / 'int8', model / 'orbax/params')
  assert "parameter 'embedder/input_embedding' is of type int8" in refused(model / 'orbax')


def test_a_tokenizer_that_is_none_is_refused(model):
  for content in (b'', b'text', b'\xff' * 1000, (model / 'hf/tokenizer.model').read_bytes()[:1000]):
    (model / 'hf/tokenizer.model').write_bytes(content)
    assert 'tokenizer.model: ' in refused(model / 'hf')
  (model / 'hf/tokenizer.model').unlink()
  assert 'tokenizer.model: no such file: a model needs its SentencePiece model' in refused(model / 'hf')


def test_an_index_may_name_only_files_beside_it(model):
  (model / 'hf/model.safetensors').rename(model / 'secret.safetensors')
  said, _ = header(model / 'secret.safetensors')
  index = model / 'hf/model.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': dict.fromkeys(said.keys() - {'__metadata__'}, '../secret.safetensors')}))
  assert "'../secret.safetensors', which model.safetensors.index.json names, is missing" in refused(model / 'hf')
  for content in ('[]', '{}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": [1]}'):
    index.write_text(content)
    assert 'index.json: ' in refused(model / 'hf')


def test_a_folder_of_27b_is_checked_by_its_headers(tmp_path, within):
  """Headers as of the real files, the data a hole; 54 GB that take no room."""
  from sweb_jax.models.gemma import huggingface_config, huggingface_tensors

  config = dataclasses.replace(SIZES['gemma3_27b'], vocab_size=1216)  # The size of the embedded vocabulary, padded.
  open_model('embedded:wc').tokenizer.save(tmp_path / 'tokenizer.model')
  (tmp_path / 'config.json').write_text(json.dumps(huggingface_config.write(config)))
  said, at = {}, 0
  for tensors in huggingface_tensors.shapes(config).values():
    for name, shape in tensors.items():
      end = at + 2 * int(np.prod(shape))
      said[name] = {'dtype': 'BF16', 'shape': shape, 'data_offsets': [at, end]}
      at = end
  text = json.dumps(said).encode()
  with (tmp_path / 'model.safetensors').open('wb') as f:
    f.write(struct.pack('<Q', len(text)) + text)
    f.truncate(8 + len(text) + at)
  with within(10):
    model, stored = check_model(str(tmp_path))
  assert stored == {'bfloat16': model.config.parameters} and at > 50e9
  with (tmp_path / 'model.safetensors').open('r+b') as f:
    f.truncate(8 + len(text) + at - 1)
  assert 'truncated' in refused(tmp_path)


def only_refusals(where: pathlib.Path) -> None:
  """Nothing but a refusal, or a model."""
  try:
    check_model(str(where))
  except CheckpointError as e:
    assert '\n' not in str(e) and len(str(e)) < 1000


HOSTILE = st.one_of(
  st.sampled_from([None, True, -1, 0, 10**9, 2**63, 1e308, float('nan'), float('-inf'), '', 'text', [], {}, [[]]]),
  st.integers(),
  st.floats(),
  st.text(max_size=5),
  st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
  st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12)
"""(place, byte) of what is written over."""


def damaged(content: bytes, damage, cut: float) -> bytes:
  out = bytearray(content)
  for place, byte in damage:
    out[int(place * len(out))] = byte
  return bytes(out[: int(cut * len(out)) + 1])


@FUZZ
@given(st.data(), HOSTILE)
@pytest.mark.parametrize('name', ['hf', 'orbax'])
def test_any_value_of_any_field_of_a_config_is_read_or_refused(good, tmp_path, name, data, value):
  where = tmp_path / name
  if not where.exists():
    shutil.copytree(good / name, where)
  fields = json.loads((good / name / 'config.json').read_text())
  fields[data.draw(st.sampled_from(sorted(fields)))] = value
  (where / 'config.json').write_text(json.dumps(fields))
  only_refusals(where)


@FUZZ
@given(st.data(), HOSTILE)
def test_any_value_in_a_header_of_safetensors_is_read_or_refused(good, tmp_path, data, value):
  where = tmp_path / 'hf'
  if not where.exists():
    shutil.copytree(good / 'hf', where)
  said, tensors = header(good / 'hf/model.safetensors')
  name = data.draw(st.sampled_from(sorted(said)))
  if field := data.draw(st.sampled_from([None, *said[name]])):
    said[name][field] = value
  else:
    said[name] = value
  with_header(where / 'model.safetensors', said, tensors)
  only_refusals(where)


@FUZZ
@given(DAMAGE, st.sampled_from([0.0, 0.3, 0.9, 1.0]))
@pytest.mark.parametrize(
  'name',
  ['hf/config.json', 'hf/model.safetensors', 'hf/tokenizer.model', 'orbax/config.json',
   'orbax/params/_METADATA', 'orbax/params/manifest.ocdbt'],
)  # fmt: skip
def test_any_damage_of_any_file_is_read_or_refused(good, tmp_path, name, damage, cut):
  where = tmp_path / 'x'
  if not where.exists():
    shutil.copytree(good, where)
  content = (good / name).read_bytes()
  if name == 'hf/model.safetensors':  # Damage of its header, before the numbers.
    size = len(content) - len(header(good / name)[1])
    content = damaged(content[:size], damage, cut) + (content[size:] if cut == 1.0 else b'')
  else:
    content = damaged(content, damage, cut)
  (where / name).write_bytes(content)
  only_refusals(where / name.split('/')[0])
