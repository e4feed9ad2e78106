"""The architecture as Hugging Face's `config.json` says it, read and written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma.config import LATER, ModelConfig, transposed_gating


def read(folder: epath.PathLike) -> ModelConfig:
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
    later = f'. {LATER}' if str(kind).startswith(('gemma3n', 'gemma4')) else ''
    raise CheckpointError(f'{path}: model_type is {kind!r}; gemma, gemma2, gemma3 and gemma3_text can be read{later}')
  activation = fields.get('hidden_activation') or fields.get('hidden_act') or 'gelu_pytorch_tanh'
  if activation not in ('gelu_pytorch_tanh', 'gelu'):  # Gemma 1's first configs say gelu and mean the tanh form.
    raise CheckpointError(f'{path}: hidden_activation is {activation!r}; Gemmas have gelu_pytorch_tanh')
  for name, plain in (('attention_bias', False), ('tie_word_embeddings', True)):
    if fields.get(name, plain) != plain:
      raise CheckpointError(f'{path}: {name}={fields[name]}; Gemmas have {plain}')
  try:
    config = _config(kind, fields)
    return dataclasses.replace(config, transpose_gating=transposed_gating(config))
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


def write(c: ModelConfig) -> dict[str, Any]:
  """The fields of `config.json` that give this architecture, in the names of transformers 4 and 5.

  Raises:
    CheckpointError: Hugging Face has no Gemma like that; the message names the field.
  """
  kind = 'gemma3_text' if c.qk_norm else 'gemma2' if c.post_norms else 'gemma'
  heads = c.head_width**-0.5 if c.query_scale is None else c.query_scale
  scalar = round(heads**-2)
  must = {'query_scale': abs(scalar**-0.5 - heads) < 1e-9 * heads}
  if kind == 'gemma3_text':
    must |= {'post_norms': c.post_norms, 'attn_softcap': c.attn_softcap is None}
  else:
    # Local layers have a RoPE base of their own in Gemma 3 only.
    alike = c.local_rope_base == c.rope_base or 'local' not in c.pattern
    must |= {'local_rope_base': alike, 'rope_scale': c.rope_scale == 1}
  if kind == 'gemma':
    plain = {'attn_softcap': None, 'final_softcap': None, 'query_scale': None, 'pattern': ('global',)}
    must |= {name: getattr(c, name) == value for name, value in plain.items()}
  if wrong := [name for name, fits in must.items() if not fits]:
    raise CheckpointError(f"{wrong[0]}={getattr(c, wrong[0])}: Hugging Face's {kind} models cannot have that")
  architecture = {'gemma3_text': 'Gemma3ForCausalLM', 'gemma2': 'Gemma2ForCausalLM', 'gemma': 'GemmaForCausalLM'}[kind]
  out = {
    'architectures': [architecture],
    'model_type': kind,
    'vocab_size': c.vocab_size,
    'hidden_size': c.width,
    'intermediate_size': c.hidden,
    'num_hidden_layers': c.layers,
    'num_attention_heads': c.heads,
    'num_key_value_heads': c.kv_heads,
    'head_dim': c.head_width,
    'hidden_act': 'gelu_pytorch_tanh',
    'hidden_activation': 'gelu_pytorch_tanh',
    'rms_norm_eps': c.norm_eps,
    'rope_theta': c.rope_base,
    'attention_bias': False,
    'attention_dropout': 0.0,
    'tie_word_embeddings': True,
    # What the named sizes have; the architecture itself has no limit.
    'max_position_embeddings': 8192 if kind != 'gemma3_text' else 131_072 if c.rope_scale != 1 else 32_768,
  }
  if kind == 'gemma':
    return out
  local = [c.is_local(layer) for layer in range(c.layers)]
  out |= {
    'query_pre_attn_scalar': scalar,
    'sliding_window': c.window,
    'attn_logit_softcapping': c.attn_softcap,
    'final_logit_softcapping': c.final_softcap,
    'layer_types': ['sliding_attention' if x else 'full_attention' for x in local],
  }
  if kind == 'gemma3_text':
    out['rope_local_base_freq'] = c.local_rope_base
    out['rope_scaling'] = None if c.rope_scale == 1 else {'rope_type': 'linear', 'factor': c.rope_scale}
  return out
