"""Hugging Face directories: logits of those that transformers writes, which files are read, and what is refused."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import huggingface, sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import huggingface_config, transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.source import check_model, open_model

TOLERANCE = 1e-4  # Largest difference of a logit, float32.
FORM_TOLERANCE = 2e-4  # The same for models with heads of 256, whose sums are longer.
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


@pytest.fixture
def libraries():
  pytest.importorskip('torch')
  pytest.importorskip('transformers')


@pytest.mark.slow
@pytest.mark.usefixtures('libraries')
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


FLAT = {name: value for name, value in SHAPE.items() if not name.endswith('_token_id')}
LINEAR = {'rope_type': 'linear', 'factor': 8.0}
FORMS = {
  'Gemma 1, flat, its activation by the old name, head_dim left out': {
    **FLAT, 'model_type': 'gemma', 'num_hidden_layers': 2, 'hidden_act': 'gelu', 'head_dim': None, 'rope_theta': 5e5,
  },
  'Gemma 1, rope_parameters': {
    **FLAT, 'model_type': 'gemma', 'num_hidden_layers': 2,
    'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5},
  },
  'Gemma 2, flat, nulls': {
    **FLAT, 'model_type': 'gemma2', 'num_hidden_layers': 3, 'sliding_window': 5, 'query_pre_attn_scalar': 24,
    'rope_theta': 1e3, 'attn_logit_softcapping': 1.5, 'final_logit_softcapping': None, 'layer_types': None,
    'rope_scaling': None, 'rope_parameters': None,
  },
  'Gemma 2, rope_parameters and layer_types': {
    **FLAT, 'model_type': 'gemma2', 'num_hidden_layers': 3, 'sliding_window': 5, 'final_logit_softcapping': 2.5,
    'layer_types': ['full_attention', 'sliding_attention', 'sliding_attention'],
    'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e3},
  },
  'Gemma 3, flat': {
    **FLAT, 'model_type': 'gemma3_text', 'num_hidden_layers': 5, 'sliding_window': 5, 'sliding_window_pattern': 3,
    'rope_scaling': LINEAR, 'rope_theta': 1e5, 'rope_local_base_freq': 1e3,
  },
  'Gemma 3, rope_parameters by kind of layer': {
    **FLAT, 'model_type': 'gemma3_text', 'num_hidden_layers': 7, 'sliding_window': 5, 'final_logit_softcapping': 2.5,
    'rope_parameters': {'full_attention': LINEAR | {'rope_theta': 1e5}, 'sliding_attention': {'rope_theta': 1e3}},
  },
  'Gemma 3 that also sees, its text_config as published': {
    'model_type': 'gemma3',
    'text_config': {
      'hidden_size': 64, 'intermediate_size': 80, 'model_type': 'gemma3_text', 'num_hidden_layers': 7,
      'rope_scaling': LINEAR, 'sliding_window': 5,
    },
    'vision_config': {
      'model_type': 'siglip_vision_model', 'hidden_size': 16, 'intermediate_size': 16, 'num_hidden_layers': 1,
      'num_attention_heads': 2, 'image_size': 28, 'patch_size': 14,
    },
    'mm_tokens_per_image': 4,
  },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures('libraries')
@pytest.mark.parametrize('form', FORMS)
def test_logits_of_every_form_of_config_equal_those_of_transformers(form, tmp_path):
  import torch
  from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

  text = json.dumps({name: value for name, value in FORMS[form].items() if name != 'head_dim' or value})
  (tmp_path / 'config.json').write_text(text)
  config = AutoConfig.from_pretrained(tmp_path)
  auto = AutoModelForImageTextToText if config.model_type == 'gemma3' else AutoModelForCausalLM
  model = save(auto.from_config(config, attn_implementation='eager'), tmp_path)
  (tmp_path / 'config.json').write_text(json.dumps(FORMS[form]))  # Saving has written it anew, with every field.
  found = huggingface_config.read(tmp_path)
  params = huggingface.load(tmp_path, found, sharding.make_mesh())
  with torch.no_grad():
    expected = model(torch.tensor(TOKENS)).logits.numpy()
  assert expected.std() > 0.3
  assert np.abs(np.asarray(transformer.forward(params, found, TOKENS)) - expected).max() < FORM_TOLERANCE


@pytest.mark.slow
@pytest.mark.usefixtures('libraries')
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
@pytest.mark.usefixtures('libraries')
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
    ({'hidden_activation': 'silu'}, "hidden_activation='silu': not supported, only 'gelu_pytorch_tanh'"),
    ({'attention_bias': True}, 'attention_bias=True'),
    ({'tie_word_embeddings': False}, 'tie_word_embeddings=False'),
  ]:
    with pytest.raises(CheckpointError, match=message):
      huggingface_config.read(broken(**changes))
  with pytest.raises(CheckpointError, match=r'config\.json: no such file'):
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
  with pytest.raises(CheckpointError, match='truncated, or no safetensors file'):
    huggingface.load(tmp_path / 'bad', good, mesh)
  file.unlink()
  with pytest.raises(CheckpointError, match=r'there is no \*.safetensors file'):
    huggingface.load(tmp_path / 'bad', good, mesh)


SMALL = ModelConfig(193, 32, 48, 2, 4, 2, 16, pattern=('local', 'global'), window=6)


@pytest.fixture
def directory(tmp_path):
  """A sound directory in one file, without any library."""
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), transformer.shapes(SMALL))
  huggingface.save(tmp_path / 'hf', SMALL, params, open_model('embedded:wc').tokenizer)
  return tmp_path / 'hf'


def rewrite(folder, change, file='model.safetensors'):
  """Replaces the tensors of a directory by what `change` makes of them."""
  from safetensors.numpy import load_file, save_file

  tensors = change(load_file(folder / 'model.safetensors'))
  (folder / 'model.safetensors').unlink()
  save_file(tensors, folder / file)


EMBEDDING = 'model.embed_tokens.weight'


def test_an_output_layer_that_is_the_embedding_is_read_and_not_counted(directory):
  rewrite(directory, lambda t: t | {'lm_head.weight': t[EMBEDDING].copy()})
  model, stored = check_model(str(directory))
  assert stored == {'float32': SMALL.parameters}
  model.load(sharding.make_mesh())


@pytest.mark.parametrize('name', ['lm_head.weight', 'language_model.lm_head.weight'])
@pytest.mark.parametrize('change', ['one value', 'type', 'shape'])
def test_an_output_layer_that_differs_from_the_embedding_is_refused(name, change, directory):
  def changed(tensors):
    head = tensors[EMBEDDING].copy()
    head[-1, -1] += 0.001
    return tensors | {name: {'one value': head, 'type': head.astype(np.float16), 'shape': head[1:]}[change]}

  rewrite(directory, changed)
  for read in (check_model, lambda source: open_model(source).load(sharding.make_mesh())):
    with pytest.raises(CheckpointError, match=r'lm_head\.weight differs from the embedding'):
      read(str(directory))


@pytest.mark.parametrize(
  'name',
  ['model.layers.0.self_attn.q_proj.bias', 'model.layers.2.input_layernorm.weight', 'score.weight',
   'model.layers.0.mlp.up_proj.weight_scale', 'model.layers.1.self_attn.sinks', 'base_model.lora_A.weight'],
)  # fmt: skip
def test_a_tensor_that_is_no_part_of_the_model_is_refused_by_name(name, directory):
  rewrite(directory, lambda t: t | {name: np.zeros(32, np.float32)})
  with pytest.raises(CheckpointError, match=f'tensor .{name}. is no part of the model'):
    check_model(str(directory))


@pytest.mark.parametrize('prefix', ['language_model.model.', 'model.language_model.'])
def test_the_part_of_a_model_that_also_sees_is_read_and_what_reads_images_passed_over(prefix, directory):
  vision = {'vision_tower.x': np.zeros(3, np.int64), 'multi_modal_projector.y': np.zeros(3, np.float32)}
  vision |= {f'model.{name}': x for name, x in vision.items()}
  rewrite(directory, lambda t: {prefix + n.removeprefix('model.'): x for n, x in t.items()} | vision)
  assert check_model(str(directory))[1] == {'float32': SMALL.parameters}


def test_a_file_beside_model_safetensors_is_passed_over_as_transformers_does(directory):
  from safetensors.numpy import save_file

  save_file({EMBEDDING: np.zeros((3, 3), np.float32)}, directory / 'consolidated.safetensors')
  (directory / huggingface.INDEX).write_text(json.dumps({'weight_map': {EMBEDDING: 'consolidated.safetensors'}}))
  check_model(str(directory))


def test_a_tensor_in_two_files_is_refused(directory):
  from safetensors.numpy import save_file

  rewrite(directory, lambda t: t, 'a.safetensors')
  check_model(str(directory))
  save_file({EMBEDDING: np.zeros((193, 32), np.float32)}, directory / 'b.safetensors')
  with pytest.raises(CheckpointError, match=rf'tensor .{EMBEDDING}. is in a\.safetensors and in b\.safetensors'):
    check_model(str(directory))


def test_a_tensor_that_is_not_in_the_file_the_index_names_is_refused(directory):
  rewrite(directory, lambda t: t, 'a.safetensors')
  said = {'weight_map': dict.fromkeys((EMBEDDING, 'x'), 'a.safetensors')}
  (directory / huggingface.INDEX).write_text(json.dumps(said))
  with pytest.raises(CheckpointError, match=r'a\.safetensors: tensor .x., which .*index\.json names, is missing'):
    check_model(str(directory))


def test_brackets_in_the_name_of_a_folder_are_no_pattern(directory, tmp_path):
  directory.rename(tmp_path / '[a] model')
  assert check_model(str(tmp_path / '[a] model'))[0].kind == 'Hugging Face directory'
