"""Reads a Hugging Face model directory: `config.json` and safetensors, into the gemma library's tree."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import sharding, transformer
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.config import ModelConfig

Read = Callable[[str], np.ndarray]
"""Tensor name to tensor."""


def read_config(folder: epath.PathLike) -> ModelConfig:
  """The architecture that `config.json` describes.

  Raises:
    CheckpointError: no Gemma 1, 2 or 3 text model, or one with a part that this project does not have.
  """
  path = epath.Path(folder) / 'config.json'
  try:
    fields = json.loads(path.read_text())
  except (OSError, ValueError) as e:
    raise CheckpointError(f'{path}: cannot be read: {e}') from e
  if fields.get('model_type') == 'gemma3':
    fields = fields.get('text_config', {}) | {'model_type': 'gemma3_text'}  # The part that reads text.
  kind = fields.get('model_type')
  if kind not in ('gemma', 'gemma2', 'gemma3_text'):
    raise CheckpointError(f'{path}: model_type is {kind!r}; gemma, gemma2, gemma3 and gemma3_text can be read')
  activation = fields.get('hidden_activation') or fields.get('hidden_act') or 'gelu_pytorch_tanh'
  if activation not in ('gelu_pytorch_tanh', 'gelu'):  # Gemma 1's first configs say gelu and mean the tanh form.
    raise CheckpointError(f'{path}: hidden_activation is {activation!r}; Gemmas have gelu_pytorch_tanh')
  for name, plain in (('attention_bias', False), ('tie_word_embeddings', True)):
    if fields.get(name, plain) != plain:
      raise CheckpointError(f'{path}: {name}={fields[name]}; Gemmas have {plain}')
  try:
    return _config(kind, fields)
  except (KeyError, ValueError) as e:
    raise CheckpointError(f'{path}: {e.args[0]!r} is missing or wrong for a {kind} model') from e


def _config(kind: str, f: Mapping[str, Any]) -> ModelConfig:
  layers, heads, width = f['num_hidden_layers'], f['num_attention_heads'], f['hidden_size']
  head_width = f.get('head_dim') or width // heads
  out = dict(
    vocab_size=f['vocab_size'],
    width=width,
    hidden=f['intermediate_size'],
    layers=layers,
    heads=heads,
    kv_heads=f['num_key_value_heads'],
    head_width=head_width,
    norm_eps=f.get('rms_norm_eps', 1e-6),
  )
  if kind == 'gemma':
    return ModelConfig(**out, post_norms=False, rope_base=f.get('rope_theta', 10_000.0))
  period = f.get('sliding_window_pattern', 6) if kind == 'gemma3_text' else 2
  types = f.get('layer_types') or [
    'full_attention' if (i + 1) % period == 0 else 'sliding_attention' for i in range(layers)
  ]
  scalar = f.get('query_pre_attn_scalar', head_width)
  out |= dict(
    pattern=_shortest(tuple('local' if t == 'sliding_attention' else 'global' for t in types)),
    window=f['sliding_window'],
    attn_softcap=f.get('attn_logit_softcapping'),
    final_softcap=f.get('final_logit_softcapping'),
    query_scale=None if scalar == head_width else scalar**-0.5,
  )
  # transformers 5 writes `rope_parameters` by kind of layer, 4 flat fields.
  ropes = f.get('rope_parameters') or {}
  if kind == 'gemma2':
    base = ropes.get('rope_theta') or f.get('rope_theta', 10_000.0)
    return ModelConfig(**out, rope_base=base, local_rope_base=base)
  far, near = ropes.get('full_attention', {}), ropes.get('sliding_attention', {})
  scaling = far if far.get('rope_type') == 'linear' else f.get('rope_scaling') or {}
  return ModelConfig(
    **out,
    qk_norm=True,
    rope_base=far.get('rope_theta') or f.get('rope_theta', 1_000_000.0),
    rope_scale=float(scaling.get('factor', 1.0)),
    local_rope_base=near.get('rope_theta') or f.get('rope_local_base_freq', 10_000.0),
  )


def _shortest(types: tuple[str, ...]) -> tuple[str, ...]:
  """The shortest pattern that, repeated, gives the layers' types."""
  return next(p for n in range(1, len(types) + 1) if all(t == (p := types[:n])[i % n] for i, t in enumerate(types)))


def load(folder: epath.PathLike, config: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32) -> transformer.Params:
  """Reads the parameters tensor by tensor, each straight to its shards.

  Raises:
    CheckpointError: a tensor is missing or of another shape, or a file is damaged.
  """
  shapes = transformer.shapes(config, dtype)
  with _open(epath.Path(folder)) as read:
    return jax.tree.map_with_path(
      lambda path, shape, where: _place([k.key for k in path], shape, where, read, config, folder),
      shapes,
      sharding.for_params(shapes, mesh),
    )


def _place(path: list[str], shape, where, read: Read, config: ModelConfig, folder: epath.PathLike) -> jax.Array:
  value = _parameter(path, read, config)
  if value.shape != shape.shape:
    raise CheckpointError(
      f'{folder}: the tensors of {"/".join(path)} give shape {value.shape}, its config.json needs {shape.shape}'
    )
  return jax.device_put(value.astype(shape.dtype), where)


def _parameter(path: list[str], read: Read, c: ModelConfig) -> np.ndarray:
  """One parameter of the gemma library's tree from Hugging Face's tensors."""
  if path[0] == 'embedder':
    return read('model.embed_tokens.weight')
  if path[0] == 'final_norm':
    return read('model.norm.weight')
  layer, name = path[0].removeprefix('layer_'), '/'.join(path[1:])

  def get(part: str) -> np.ndarray:
    return read(f'model.layers.{layer}.{part}.weight')

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
  # Gemma 1 has one norm before each half and calls the second `post_attention`.
  before_mlp = 'pre_feedforward_layernorm' if c.post_norms else 'post_attention_layernorm'
  norms = {
    'pre_attention_norm': 'input_layernorm',
    'post_attention_norm': 'post_attention_layernorm',
    'pre_ffw_norm': before_mlp,
    'post_ffw_norm': 'post_feedforward_layernorm',
    'attn/_query_norm': 'self_attn.q_norm',
    'attn/_key_norm': 'self_attn.k_norm',
  }
  return get(norms[name.removesuffix('/scale')])


@contextlib.contextmanager
def _open(folder: epath.Path) -> Iterator[Read]:
  """Reads tensors by name from the directory's safetensors, one at a time."""
  from safetensors import SafetensorError, safe_open

  files = sorted(folder.glob('*.safetensors'))
  if not files:
    raise CheckpointError(f'{folder}: there is no *.safetensors file')
  with contextlib.ExitStack() as stack:
    where: dict[str, tuple[Any, str]] = {}
    for file in files:
      try:
        opened = stack.enter_context(safe_open(file, framework='numpy'))
      except (SafetensorError, OSError) as e:
        raise CheckpointError(f'{file}: damaged, or no safetensors file: {e}') from e
      for name in opened.keys():  # noqa: SIM118 (no mapping)
        # In a model that also sees, the part that reads text has a name of its own.
        plain = name.replace('language_model.model.', 'model.').replace('model.language_model.', 'model.')
        where[plain] = opened, name

    def read(name: str) -> np.ndarray:
      if name not in where:
        raise CheckpointError(f'{folder}: tensor {name} is missing')
      opened, stored = where[name]
      return opened.get_tensor(stored)

    yield read
