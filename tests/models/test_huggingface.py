"""Hugging Face directories, written by the transformers library: the architecture, the tensors, and what is refused."""

from __future__ import annotations

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import huggingface, huggingface_config, sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.source import open_model

TOLERANCE = 1e-4  # Largest difference of a logit, float32.
SHAPE = dict(
  vocab_size=193, hidden_size=32, intermediate_size=80, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
  pad_token_id=0, eos_token_id=1, bos_token_id=2,
)  # fmt: skip
TOKENS = np.random.default_rng(0).integers(3, 193, (2, 21))


def gemma1(**changes):
  from transformers import GemmaConfig, GemmaForCausalLM

  return GemmaForCausalLM(GemmaConfig(**SHAPE | changes, num_hidden_layers=2))


def gemma2(**changes):
  from transformers import Gemma2Config, Gemma2ForCausalLM

  settings = dict(num_hidden_layers=3, sliding_window=5, query_pre_attn_scalar=24, attn_logit_softcapping=1.5)
  return Gemma2ForCausalLM(Gemma2Config(**SHAPE, **settings | changes, attn_implementation='eager'))


def gemma3(**changes):
  from transformers import Gemma3ForCausalLM, Gemma3TextConfig

  ropes = {
    'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 1e6},
    'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4},
  }
  settings = dict(num_hidden_layers=7, sliding_window=5, query_pre_attn_scalar=16, rope_parameters=ropes)
  return Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, **settings | changes, attn_implementation='eager'))


def save(model, folder, **options):
  """With weights large enough that every part of the network is felt."""
  import torch

  torch.manual_seed(0)
  with torch.no_grad():
    for name, p in model.named_parameters():
      p.normal_(0.0, 0.3 if 'norm' in name else p.shape[-1] ** -0.5)
  model.eval().save_pretrained(folder, **options)
  return model


@pytest.fixture(autouse=True)
def libraries():
  pytest.importorskip('torch')
  pytest.importorskip('transformers')


@pytest.mark.slow
@pytest.mark.parametrize(
  'build',
  [gemma1, lambda: gemma1(num_key_value_heads=4), gemma2, gemma3],
  ids=['Gemma 1', 'Gemma 1, every head its keys', 'Gemma 2', 'Gemma 3'],
)
def test_logits_of_a_directory_equal_the_librarys(build, tmp_path):
  import torch

  model = build()
  save(model, tmp_path, max_shard_size='40KB')
  assert len(list(tmp_path.glob('*.safetensors'))) > 1
  config = huggingface_config.read(tmp_path)
  params = huggingface.load(tmp_path, config, sharding.make_mesh())
  with torch.no_grad():
    expected = model(torch.tensor(TOKENS)).logits.numpy()
  assert expected.std() > 0.3
  assert np.abs(np.asarray(transformer.forward(params, config, TOKENS)) - expected).max() < TOLERANCE


@pytest.mark.slow
def test_a_bfloat16_directory_opens_as_a_model(tmp_path):
  import torch

  save(gemma2().to(torch.bfloat16), tmp_path)
  open_model('embedded:wc').tokenizer.save(tmp_path / 'tokenizer.model')
  model = open_model(str(tmp_path))
  params = model.load(sharding.make_mesh())
  assert params['layer_1']['attn']['q_einsum']['w'].dtype == jnp.float32
  assert (model.config.pattern, model.config.window, model.config.attn_softcap) == (('local', 'global'), 5, 1.5)
  half = huggingface.load(tmp_path, model.config, sharding.make_mesh(), jnp.bfloat16)
  assert half['embedder']['input_embedding'].dtype == jnp.bfloat16


@pytest.mark.slow
def test_what_cannot_be_read_is_named(tmp_path):
  model = save(gemma2(), tmp_path / 'good')
  del model
  config = json.loads((tmp_path / 'good/config.json').read_text())

  def broken(**changes):
    folder = tmp_path / 'bad'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / 'good', folder)
    (folder / 'config.json').write_text(json.dumps(config | changes))
    return folder

  for changes, message in [
    ({'model_type': 'llama'}, "model_type is 'llama'"),
    ({'hidden_activation': 'silu'}, "hidden_activation is 'silu'"),
    ({'attention_bias': True}, 'attention_bias=True'),
    ({'tie_word_embeddings': False}, 'tie_word_embeddings=False'),
  ]:
    with pytest.raises(CheckpointError, match=message):
      huggingface_config.read(broken(**changes))
  del config['num_hidden_layers']
  with pytest.raises(CheckpointError, match="'num_hidden_layers' is missing"):
    huggingface_config.read(broken())
  with pytest.raises(CheckpointError, match=r'config\.json: cannot be read'):
    huggingface_config.read(tmp_path)

  good = huggingface_config.read(tmp_path / 'good')
  mesh = sharding.make_mesh()
  config = json.loads((tmp_path / 'good/config.json').read_text())
  with pytest.raises(CheckpointError, match=r'model\.layers\.3\..* is missing'):
    folder = broken(num_hidden_layers=4, layer_types=None)
    huggingface.load(folder, huggingface_config.read(folder), mesh)
  with pytest.raises(CheckpointError, match=r'gate_proj.* has shape \(80, 32\), its config\.json needs \(88, 32\)'):
    folder = broken(intermediate_size=88)
    huggingface.load(folder, huggingface_config.read(folder), mesh)
  file = next((tmp_path / 'bad').glob('*.safetensors'))
  file.write_bytes(file.read_bytes()[:1000])
  with pytest.raises(CheckpointError, match='damaged, or no safetensors file'):
    huggingface.load(tmp_path / 'bad', good, mesh)
  file.unlink()
  with pytest.raises(CheckpointError, match=r'there is no \*.safetensors file'):
    huggingface.load(tmp_path / 'bad', good, mesh)
