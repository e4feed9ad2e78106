"""One parameter of the gemma library's tree and the tensors that are the same in a Hugging Face directory, both ways.

Letters: D width, F hidden, N heads (or KV heads), H head width. Hugging Face keeps matrices as [outputs, inputs]; norms
are the same (both keep the scale without its 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from sweb_jax.models import checkpoint
from sweb_jax.models.gemma.config import ModelConfig

Read = Callable[[str], np.ndarray]
"""Tensor name to tensor."""

_NORMS = {
  'pre_attention_norm': 'input_layernorm',
  'post_attention_norm': 'post_attention_layernorm',
  'pre_ffw_norm': 'pre_feedforward_layernorm',
  'post_ffw_norm': 'post_feedforward_layernorm',
  'attn/_query_norm': 'self_attn.q_norm',
  'attn/_key_norm': 'self_attn.k_norm',
}


def parameter(path: str, read: Read, c: ModelConfig) -> np.ndarray:
  """The parameter `path` ('layer_0/mlp/linear') from its tensors."""
  if path == 'embedder/input_embedding':
    return read('model.embed_tokens.weight')
  if path == 'final_norm/scale':
    return read('model.norm.weight')
  block, name = _split(path)

  def get(part: str) -> np.ndarray:
    return read(f'{block}.{part}.weight')

  def heads(part: str) -> np.ndarray:  # [N * H, D] to [N, D, H]
    w = get(f'self_attn.{part}_proj')
    return w.reshape(-1, c.head_width, w.shape[-1]).swapaxes(1, 2)

  match name:
    case 'attn/q_einsum/w':
      return heads('q')
    case 'attn/kv_einsum/w':
      return np.stack([heads('k'), heads('v')])
    case 'attn/qkv_einsum/w':
      return np.stack([heads('q'), heads('k'), heads('v')])
    case 'attn/attn_vec_einsum/w':
      w = get('self_attn.o_proj')  # [D, N * H]
      return w.T.reshape(-1, c.head_width, w.shape[0])
    case 'mlp/gating_einsum':
      pair = [get('mlp.gate_proj'), get('mlp.up_proj')]  # [F, D] each
      return np.stack(pair if c.transpose_gating else [w.T for w in pair])
    case 'mlp/linear':
      return get('mlp.down_proj').T
  return get(_norm(name, c))


def tensors(path: str, x: np.ndarray, c: ModelConfig) -> dict[str, np.ndarray]:
  """The tensors of the parameter `path`: the inverse of `parameter`."""
  if path == 'embedder/input_embedding':
    return {'model.embed_tokens.weight': x}
  if path == 'final_norm/scale':
    return {'model.norm.weight': x}
  block, name = _split(path)

  def rows(w):  # [N, D, H] to [N * H, D]
    return w.swapaxes(1, 2).reshape(-1, c.width)

  match name:
    case 'attn/q_einsum/w':
      out = {'self_attn.q_proj': rows(x)}
    case 'attn/kv_einsum/w':
      out = {'self_attn.k_proj': rows(x[0]), 'self_attn.v_proj': rows(x[1])}
    case 'attn/qkv_einsum/w':
      out = {f'self_attn.{part}_proj': rows(w) for part, w in zip('qkv', x, strict=True)}
    case 'attn/attn_vec_einsum/w':
      out = {'self_attn.o_proj': x.reshape(-1, c.width).T}
    case 'mlp/gating_einsum':
      gate, up = x if c.transpose_gating else x.swapaxes(1, 2)
      out = {'mlp.gate_proj': gate, 'mlp.up_proj': up}
    case 'mlp/linear':
      out = {'mlp.down_proj': x.T}
    case _:
      out = {_norm(name, c): x}
  return {f'{block}.{part}.weight': w for part, w in out.items()}


def shapes(c: ModelConfig) -> dict[str, dict[str, tuple[int, ...]]]:
  """Of every parameter: its tensors and their shapes."""
  of_layer_0, out = {}, {}
  for path, shape in checkpoint.needed(dataclasses.replace(c, layers=1)).items():
    made = jax.eval_shape(lambda x, path=path: tensors(path, x, c), jax.ShapeDtypeStruct(shape, np.float32))
    found = {name: tuple(w.shape) for name, w in made.items()}
    (of_layer_0 if path.startswith('layer_0/') else out)[path] = found
  for layer in range(c.layers):  # All layers are alike; tracing each would take most of a check's time.
    for path, found in of_layer_0.items():
      named = {name.replace('.layers.0.', f'.layers.{layer}.'): shape for name, shape in found.items()}
      out[path.replace('layer_0/', f'layer_{layer}/')] = named
  return out


def unread(c: ModelConfig) -> frozenset[str]:
  """Tensors that a directory may have and no model reads: none."""
  del c
  return frozenset()


def _split(path: str) -> tuple[str, str]:
  layer, name = path.split('/', 1)
  return f'model.layers.{layer.removeprefix("layer_")}', name


def _norm(name: str, c: ModelConfig) -> str:
  part = _NORMS[name.removesuffix('/scale')]
  # Gemma 1 has one norm before each half and calls the second `post_attention`.
  return 'post_attention_layernorm' if part == 'pre_feedforward_layernorm' and not c.post_norms else part
