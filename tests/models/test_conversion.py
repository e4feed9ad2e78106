"""Round trips between forms, bit for bit, and the check that stands behind each conversion."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import pathlib
import pickle

import jax
import numpy as np
import pytest

from sweb_jax.models import checkpoint, conversion, families, huggingface, sharding, tensor_file
from sweb_jax.models.__main__ import main
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig, named_size
from sweb_jax.models.source import open_model, save_model
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError

GEMMA1 = ModelConfig(193, 32, 48, 2, 4, 4, 16, post_norms=False, transpose_gating=False)
GEMMA2 = ModelConfig(
  193, 32, 48, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=50.0, final_softcap=30.0,
  query_scale=24**-0.5,
)
GEMMA3 = ModelConfig(193, 32, 48, 3, 4, 1, 16, pattern=('local', 'global'), window=6, qk_norm=True, rope_base=1e6)
ALL = pytest.mark.parametrize('config', [GEMMA1, GEMMA2, GEMMA3], ids=['Gemma 1', 'Gemma 2', 'Gemma 3'])


def some_params(config: ModelConfig, dtype: str = 'float32') -> transformer.Params:
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jax.numpy.asarray(0.2 * rng.standard_normal(x.shape, np.float32)).astype(dtype),
    transformer.shapes(config),
  )


def tokenizer() -> Tokenizer:
  return open_model('embedded:wc').tokenizer


def same_bits(a, b) -> bool:
  alike = jax.tree.map(lambda x, y: x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes(), a, b)
  return jax.tree.all(alike)


@pytest.mark.slow
@ALL
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_orbax_to_hugging_face_to_orbax_is_bit_exact(config, dtype, tmp_path):
  params = some_params(config, dtype)
  save_model(tmp_path / 'a', config, params, tokenizer())
  to_hf = conversion.convert(str(tmp_path / 'a'), tmp_path / 'b', 'hf', shard_bytes=40_000)
  back = conversion.convert(str(tmp_path / 'b'), tmp_path / 'c', 'orbax')
  assert to_hf == back == conversion.Comparison(0.0, 0.0)
  model = open_model(str(tmp_path / 'c'))
  assert model.config == config and model.tokenizer == tokenizer()
  assert same_bits(model.load(sharding.make_mesh(), None), params)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'b', 'c']
  # And the directory once more: the same tensors.
  conversion.convert(str(tmp_path / 'c'), tmp_path / 'd', 'hf')
  first, second = (huggingface.entries(tmp_path / x, config) for x in 'bd')
  assert first.keys() == second.keys()
  assert all(first[n].read().tobytes() == second[n].read().tobytes() for n in first)


@ALL
def test_the_safetensors_library_reads_what_is_written_and_writes_what_is_read(config, tmp_path):
  from safetensors.numpy import load_file, save_file

  huggingface.save(tmp_path, config, some_params(config), tokenizer())
  theirs = load_file(tmp_path / 'model.safetensors')
  ours = tensor_file.entries(tmp_path / 'model.safetensors')
  assert theirs.keys() == ours.keys()
  save_file(theirs, tmp_path / 'again.safetensors')
  for name, entry in tensor_file.entries(tmp_path / 'again.safetensors').items():
    np.testing.assert_array_equal(entry.read(), theirs[name])
    np.testing.assert_array_equal(ours[name].read(), theirs[name])


def test_a_conversion_that_computes_something_else_is_an_error_and_leaves_nothing(tmp_path, monkeypatch, capsys):
  honest = huggingface.save

  def wrong(folder, config, params, *args, **kwargs):
    params['layer_1']['pre_ffw_norm']['scale'] = params['layer_1']['pre_ffw_norm']['scale'] + 1  # The norm's 1.
    honest(folder, config, params, *args, **kwargs)

  monkeypatch.setattr(huggingface, 'save', wrong)
  with pytest.raises(CheckpointError, match=r'logits differ from those of embedded:wc by up to .* \(KL .* nats\)'):
    conversion.convert('embedded:wc', tmp_path / 'out', 'hf')
  assert list(tmp_path.iterdir()) == []


def test_the_comparison_is_the_textbooks():
  p, q = np.array([[0.0, 1.0, 2.0]]), np.array([[0.5, 1.0, 1.0]])
  a, b = (np.exp(x) / np.exp(x).sum() for x in (p, q))
  found = conversion.compare(p, q)
  assert found.largest == 1.0
  assert found.divergence == pytest.approx((a * np.log(a / b)).sum())


def test_what_hugging_face_cannot_express_is_named(tmp_path):
  for change, field in [
    ({'local_rope_base': 5e4}, 'local_rope_base'),
    ({'query_scale': 0.123}, 'query_scale'),
    ({'rope_scale': 2.0}, 'rope_scale'),
    ({'qk_norm': True}, 'attn_softcap'),
    ({'post_norms': False}, 'query_scale'),
  ]:
    config = dataclasses.replace(GEMMA2, **change)
    with pytest.raises(CheckpointError, match=f'^{field}=.*Hugging Face'):
      huggingface.save(tmp_path / 'x', config, {}, tokenizer())
  assert not (tmp_path / 'x').exists()


@pytest.fixture
def directory(tmp_path):
  """A good Hugging Face directory in shards."""
  huggingface.save(tmp_path / 'hf', GEMMA2, some_params(GEMMA2), tokenizer(), shard_bytes=30_000)
  return tmp_path / 'hf'


def refused(folder: pathlib.Path, message: str) -> None:
  with pytest.raises((CheckpointError, TokenizerError), match=message):
    model = open_model(str(folder))
    model.stored()
    model.load(sharding.make_mesh())


def test_a_truncated_file_is_refused_by_its_header_alone(directory):
  file = sorted(directory.glob('*.safetensors'))[0]
  file.write_bytes(file.read_bytes()[:-10])
  with pytest.raises(CheckpointError, match=r'model-00001-of-.*truncated: tensor .model\..* ends at byte'):
    open_model(str(directory)).stored()
  file.write_bytes(file.read_bytes()[:100])
  refused(directory, 'truncated, or no safetensors file')


def test_a_missing_shard_is_named(directory):
  file = sorted(directory.glob('*.safetensors'))[1]
  file.unlink()
  refused(directory, f'{file.name}., which model.safetensors.index.json names, is missing')
  for left in directory.glob('*.safetensors'):
    left.unlink()
  refused(directory, 'which model.safetensors.index.json names, is missing')


def test_an_index_that_is_none_is_named(directory):
  (directory / 'model.safetensors.index.json').write_text('[]')
  refused(directory, r'index\.json: its root should be an object')


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('hidden_size', 40, r'embed_tokens\.weight has shape \(193, 32\), its config\.json needs \(193, 40\)'),
    ('num_hidden_layers', 3, r'tensor model\.layers\.2\..* is missing'),
    ('num_key_value_heads', 1, r'k_proj\.weight has shape \(32, 32\), its config\.json needs \(16, 32\)'),
    ('eos_token_id', 7, 'eos_token_id=7, the tokenizer 1; the tokenizer is of another model'),
    ('vocab_size', 190, 'its tokenizer has 193 pieces, the model 190 rows; the tokenizer is of another model'),
    ('vocab_size', 193 + 2000, 'its tokenizer has 193 pieces, the model 2193 rows'),
    ('model_type', 'gemma4_unified', r"'gemma4_unified' \(Gemma 4 12B, which the gemma library has not\)"),
  ],
)
def test_a_config_that_does_not_fit_is_refused(directory, field, value, message):
  fields = json.loads((directory / 'config.json').read_text())
  (directory / 'config.json').write_text(json.dumps(fields | {field: value, 'layer_types': None}))
  refused(directory, message)


def test_a_tensor_of_a_type_that_no_gemma_has_is_named(directory):
  from safetensors.numpy import save_file

  file = sorted(directory.glob('*.safetensors'))[0]
  tensors = {name: entry.read() for name, entry in tensor_file.entries(file).items()}
  save_file({name: x.astype(np.int8) for name, x in tensors.items()}, file)
  refused(directory, "tensor .* is of type 'I8'; F32, F16, BF16 can be read")


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.pt', 'model.ckpt', 'consolidated.00.pth', 'x.pkl'])
def test_a_pickle_is_refused_and_never_read(name, tmp_path):
  class Trap:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'trapped'),))

  (tmp_path / 'config.json').write_text('{"model_type": "gemma2"}')
  (tmp_path / name).write_bytes(pickle.dumps(Trap()))
  for place in (tmp_path, tmp_path / name):
    refused(place, f'{name}: a pickle can run any code and is never read')
  assert not (tmp_path / 'trapped').exists()


def test_a_folder_of_the_gemma_library_is_known_by_its_shapes(tmp_path, monkeypatch):
  small = dataclasses.replace(GEMMA2, vocab_size=256)
  for sizes in (SIZES, families.SIZES):
    monkeypatch.setitem(sizes, 'gemma2_small', small)
  params = some_params(small)
  checkpoint.save(tmp_path / 'library/params', params)
  tokenizer().save(tmp_path / 'library/tokenizer.model')
  model = open_model(str(tmp_path / 'library/params'))
  assert model.config == small and named_size(model.config) == 'gemma2_small'
  assert same_bits(model.load(sharding.make_mesh()), params)

  # Kaggle's form: flat, with 'w' below the feed-forward's weights, and parameters that read images.
  flat: dict = {}
  for path, x in jax.tree.leaves_with_path(params):
    name = f'transformer/{checkpoint.path_name(path)}'
    key, last = (name, 'w') if '/mlp/' in name else name.rsplit('/', 1)
    flat.setdefault(key, {})[last] = x
  flat['SigLiPFromPatches_0/siglip_encoder/pos_embedding'] = {'w': jax.numpy.ones((2, 3))}
  checkpoint.save(tmp_path / 'kaggle', flat)
  tokenizer().save(tmp_path / 'tokenizer.model')
  model = open_model(str(tmp_path / 'kaggle'))
  assert model.config == small and model.stored() == {'float32': small.parameters}
  assert same_bits(model.load(sharding.make_mesh()), params)

  monkeypatch.delitem(families.SIZES, 'gemma2_small')
  refused(tmp_path / 'kaggle', 'its shapes are of no named size .*; put it into a folder as params/')


def test_a_vocabulary_without_turns_has_no_chat_export(tmp_path):
  with pytest.raises(TokenizerError, match='not a vocabulary for chat turns'):
    conversion.convert('embedded:wc', tmp_path / 'x', 'hf', chat=True)


def test_the_command_converts_inspects_and_refuses_to_write_over(tmp_path, capsys):
  from absl import flags

  def run(*argv):
    flags.FLAGS.unparse_flags()
    main(flags.FLAGS(['models', *argv]))
    return capsys.readouterr().out

  target = tmp_path / 'wc'
  out = run('convert', '--from=embedded:wc', f'--to={target}', '--format=hf')
  assert 'largest difference of a logit 0, KL 0 nats' in out
  out = run('inspect', str(target))
  for part in ('Hugging Face directory', 'Gemma 2, of no named size', '51,168 float16', '193 pieces for 193 rows'):
    assert part in out
  before = {p.name: p.read_bytes() for p in target.iterdir()}
  with pytest.raises(SystemExit) as e:
    run('convert', '--from=embedded:wc', f'--to={target}', '--format=orbax')
  assert e.value.code == 1 and 'is there already' in capsys.readouterr().err
  assert before == {p.name: p.read_bytes() for p in target.iterdir()}


def test_a_real_vocabulary_of_another_gemma_is_refused(tmp_path):
  data = pathlib.Path(os.environ.get('SWEB_TEST_DATA', pathlib.Path(__file__).parents[2] / '../shared/data'))
  path = data / 'tokenizers/gemma2_rebuilt.model.gz'
  if not path.exists():
    pytest.skip(f'{path} is not there (SWEB_TEST_DATA)')
  Tokenizer.from_bytes(gzip.decompress(path.read_bytes())).save(tmp_path / 'tokenizer.model')
  gemma3 = SIZES['gemma3_1b']
  (tmp_path / 'config.json').write_text(json.dumps(dataclasses.asdict(gemma3)))
  refused(tmp_path, 'its tokenizer has 256000 pieces, the model 262144 rows; the tokenizer is of another model')
