"""The architecture as Hugging Face's `config.json` says it, read and written."""

from __future__ import annotations

import dataclasses
from typing import Any

import pydantic
from etils import epath

from sweb_jax.models import reading
from sweb_jax.models.decoder import Decoder
from sweb_jax.models.gemma import huggingface_fields
from sweb_jax.models.gemma.config import ModelConfig, transposed_gating
from sweb_jax.models.gemma.huggingface_fields import Gemma, Gemma2, Gemma3Text, Rope, Whole
from sweb_jax.models.gemma4 import config_json
from sweb_jax.models.gemma4.shape import Layered
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime.typed import fault

KINDS = huggingface_fields.KINDS | config_json.KINDS
"""By `model_type`."""
_ABSENT = {
  'gemma4_unified': 'Gemma 4 12B, which the gemma library has not',
  'gemma4_unified_text': 'Gemma 4 12B, which the gemma library has not',
}
"""What is refused by name, and why."""


def read(folder: epath.PathLike) -> Decoder:
  """The architecture that `config.json` describes.

  Raises:
    CheckpointError: no Gemma that reads text, or one with a part that this project does not have.
  """
  fields = _fields(folder)
  text = getattr(fields, 'text_config', fields)
  try:
    if not isinstance(text, Gemma):
      return text.architecture()
    config = _architecture(text)
  except ValueError as e:
    said = fault(e) if isinstance(e, pydantic.ValidationError) else e
    raise CheckpointError(f'{epath.Path(folder) / "config.json"}: {said}') from e
  return dataclasses.replace(config, transpose_gating=transposed_gating(config))


def control_ids(folder: epath.PathLike) -> dict[str, list[int]]:
  """The ids that `config.json` gives to 'bos', 'eos' and 'pad', if it does. Raises CheckpointError as `read`."""
  fields = _fields(folder)
  levels = [fields, getattr(fields, 'text_config', fields)]
  found = {}
  for name in ('bos', 'eos', 'pad'):
    said = next((x for level in levels if (x := getattr(level, f'{name}_token_id')) is not None), None)
    if said is not None:
      found[name] = said if isinstance(said, list) else [said]
  return found


def _fields(folder: epath.PathLike) -> Whole:
  path = epath.Path(folder) / 'config.json'
  data = reading.read_file(path, reading.SMALL)
  kind = reading.json_object(data, path).get('model_type')
  if not isinstance(kind, str) or kind not in KINDS:
    absent = f' ({_ABSENT[kind]})' if isinstance(kind, str) and kind in _ABSENT else ''
    raise CheckpointError(f'{path}: model_type is {kind!r:.100}{absent}; {", ".join(KINDS)} can be read')
  return reading.from_json(KINDS[kind], data, path)


def _architecture(f: Gemma) -> ModelConfig:
  """Raises ValueError where fields do not fit together."""
  out: dict[str, Any] = dict(
    vocab_size=f.vocab_size,
    width=f.hidden_size,
    hidden=f.intermediate_size,
    layers=f.num_hidden_layers,
    heads=f.num_attention_heads,
    kv_heads=f.num_key_value_heads,
    head_width=f.head_dim,
    norm_eps=f.rms_norm_eps,
  )
  if isinstance(f, Gemma3Text):
    # transformers 5 writes `rope_parameters` by kind of layer, 4 flat fields, which come first where both are there.
    far, near = _merged(f.rope_parameters.full_attention, f.rope_scaling), f.rope_parameters.sliding_attention
    out |= dict(
      qk_norm=True,
      rope_base=far.rope_theta or f.rope_theta,
      rope_scale=far.factor or 1.0,
      local_rope_base=near.rope_theta or f.rope_local_base_freq,
    )
  else:
    given = f.rope_scaling if f.rope_scaling and f.rope_scaling.model_fields_set else f.rope_parameters
    out |= dict(rope_base=given.rope_theta or f.rope_theta)
  if not isinstance(f, Gemma2):
    return ModelConfig(**out, post_norms=False)
  out.setdefault('local_rope_base', out['rope_base'])
  scalar = f.query_pre_attn_scalar
  return ModelConfig(
    **out,
    pattern=_pattern(f),
    window=f.sliding_window,
    attn_softcap=f.attn_logit_softcapping,
    final_softcap=f.final_logit_softcapping,
    query_scale=None if scalar == f.head_dim else scalar**-0.5,
  )


def _merged(rope: Rope, over: Rope | None) -> Rope:
  """`rope` with the fields that `over` gives."""
  return Rope(**rope.model_dump(exclude_unset=True) | (over.model_dump(exclude_unset=True) if over else {}))


def _pattern(f: Gemma2) -> tuple[str, ...]:
  """The shortest pattern that, repeated, gives the layers' types."""
  period = f.sliding_window_pattern if isinstance(f, Gemma3Text) else 2
  layers = range(1, f.num_hidden_layers + 1)
  types = f.layer_types or ['sliding_attention' if i % period else 'full_attention' for i in layers]
  if len(types) != len(layers):
    raise ValueError(f'layer_types has {len(types)} entries for num_hidden_layers={len(layers)}')
  pattern = tuple('local' if t == 'sliding_attention' else 'global' for t in types)
  return next(p for n in layers if all(t == (p := pattern[:n])[i % n] for i, t in enumerate(pattern)))


def write(c: Decoder) -> dict[str, Any]:
  """The fields of `config.json` that give this architecture, in the names of transformers 4 and 5.

  Raises:
    CheckpointError: Hugging Face has no Gemma like that; the message names the field.
  """
  if isinstance(c, Layered):
    return config_json.write(c)
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
